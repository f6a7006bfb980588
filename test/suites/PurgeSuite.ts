/**
 * What purging streams does, whatever the database.
 */
import { assert, layer } from "@effect/vitest"
import type { Layer } from "effect"
import { Effect, Option, Schema } from "effect"
import type { EsOps } from "effect-es-ops"
import {
  Event,
  EventStore,
  ProjectionRebuild,
  ReadTables,
  RunLog,
  RunObserver,
  StreamArchive,
  StreamMove,
  StreamPurge,
  StreamRestore
} from "effect-es-ops"
import { createHash, randomUUID } from "node:crypto"
import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { kept, order, rowOf, shop } from "./ArchiveSuite.js"

/** Orders of a tenant of their own, archived. */
export const archivedOrders = (count: number, tenantId: string = randomUUID()) =>
  Effect.gen(function* () {
    const streams = yield* Effect.forEach(Array.from({ length: count }), () =>
      order(["order.placed", "order.shipped"], { tenantId })
    )
    yield* StreamArchive.run({ streams })
    return streams
  })

/** A purge of all of a tenant's archived orders. */
export const ofTenant = (tenantId: string): StreamPurge.PurgeOptions => ({
  archivedBefore: 0,
  types: ["order"],
  tenantId,
  acceptProjectionLoss: true
})

const load = (stream: Event.StreamId) => Effect.flatMap(EventStore.EventStore, (store) => store.load(stream))

const keptRowsOf = (aggregateId: string) =>
  Effect.flatMap(ReadTables.ReadTables, (tables) => tables.load(kept, [{ id: aggregateId }]))

const tags = (errors: ReadonlyArray<{ readonly _tag: string }>) => errors.map(({ _tag }) => _tag)

/** The problems of a purge that is refused. */
export const problemsOf = (options: StreamPurge.PurgeOptions) =>
  Effect.map(Effect.flip(StreamPurge.run(options)), (error) =>
    error._tag === "PurgeRefused" ? tags(error.problems) : [error._tag]
  )

/** A folder for exports. */
export const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-purge-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const Line = Schema.parseJson(
  Schema.Struct({
    id: Schema.String,
    tenantId: Schema.String,
    aggregateId: Schema.String,
    aggregateType: Schema.String,
    version: Schema.Number,
    type: Schema.String,
    eventVersion: Schema.Number,
    payload: Schema.Unknown,
    metadata: Schema.Unknown,
    createdAt: Schema.DateTimeUtc,
    createdBy: Schema.String
  })
)

/** The events of an export, decoded. */
export const exported = (file: string) =>
  Effect.map(
    Effect.promise(() => readFile(file, "utf8")),
    (text) => {
      assert.isTrue(text === "" || text.endsWith("\n"))
      return text
        .split("\n")
        .slice(0, -1)
        .map((line) => Schema.decodeUnknownSync(Line, { onExcessProperty: "error" })(line))
    }
  )

/** An observer that interrupts the run once so many batches are committed. */
export const interruptingAfter = (batches: number): RunObserver.RunObserver => {
  let left = batches
  return {
    ...RunObserver.silent,
    progress: () => (--left === 0 ? Effect.interrupt : Effect.void)
  }
}

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`purging streams: ${name}`, (it) => {
    it.effect("deletes events and read rows, and the ids never come back", () =>
      Effect.gen(function* () {
        const [made = yield* order([])] = yield* archivedOrders(1)
        assert.lengthOf(yield* keptRowsOf(made.aggregateId), 1)
        const done = yield* StreamPurge.run(ofTenant(made.tenantId))
        assert.deepInclude(done, {
          streams: 1,
          events: 2,
          types: [{ type: "order", streams: 1, events: 2 }],
          failed: [],
          leftover: [],
          unsettled: [],
          export: null,
          outdated: ["skus"],
          rows: [{ projection: "kept", table: "read_kept_orders", written: 0, removed: 1 }]
        })
        assert.deepStrictEqual(yield* load(made), [])
        assert.deepStrictEqual(yield* keptRowsOf(made.aggregateId), [])
        for (const version of [0, 2]) {
          const refused = yield* Effect.flip(order(["order.placed"], { ...made, version }))
          assert.propertyVal(refused, "_tag", "StreamPurged")
        }
        const store = yield* EventStore.EventStore
        const archiving = store.archive({ ...made, aggregateType: "order", archivedBy: Event.systemUserId })
        assert.propertyVal(yield* Effect.flip(archiving), "_tag", "StreamPurged")
        for (const change of [StreamArchive.run({ streams: [made] }), StreamRestore.run({ streams: [made] })]) {
          const error = yield* Effect.flip(change)
          assert.deepStrictEqual(error._tag === "StreamsRefused" ? tags(error.problems) : error._tag, ["StreamPurged"])
        }
        // Nor from another tenant, or to one on which it was purged.
        const elsewhere = yield* order(["order.placed"], { aggregateId: made.aggregateId })
        for (const [from, to] of [
          [made.tenantId, randomUUID()],
          [elsewhere.tenantId, made.tenantId]
        ] as const) {
          const moves = [{ aggregateId: made.aggregateId, from, to }]
          const error = yield* Effect.flip(StreamMove.run({ moves, merge: true }))
          assert.deepStrictEqual(error._tag === "MovesRefused" ? tags(error.problems) : error._tag, ["StreamPurged"])
        }
        assert.deepInclude(yield* StreamPurge.run(ofTenant(made.tenantId)), { streams: 0, events: 0 })
      })
    )

    it.effect("touches no stream that is not archived, of another type or tenant, or was archived later", () =>
      Effect.gen(function* () {
        const tenantId = randomUUID()
        const live = yield* order(["order.placed"], { tenantId })
        const [later = live] = yield* archivedOrders(1, tenantId)
        const [other = live] = yield* archivedOrders(1)
        const none = { streams: 0, events: 0, failed: [] }
        const before = { archivedBefore: new Date(Date.now() - 60_000) }
        assert.deepInclude(yield* StreamPurge.run({ ...ofTenant(tenantId), ...before }), none)
        assert.deepInclude(yield* StreamPurge.run({ ...ofTenant(tenantId), archivedBefore: "1 hour" }), none)
        assert.deepInclude(yield* StreamPurge.run({ ...ofTenant(tenantId), types: ["invoice"] }), none)
        assert.deepInclude(yield* StreamPurge.run(ofTenant(tenantId.toUpperCase())), { streams: 1, events: 2 })
        assert.deepStrictEqual(yield* load(later), [])
        assert.lengthOf(yield* load(live), 1)
        assert.isDefined(yield* rowOf(live.aggregateId))
        assert.lengthOf(yield* load(other), 2)
      })
    )

    it.effect("counts beforehand exactly what it does then, and leaves nothing of that", () =>
      Effect.gen(function* () {
        const [made = yield* order([]), ...more] = yield* archivedOrders(3)
        const path = join(yield* folder, "planned.jsonl")
        const options = { ...ofTenant(made.tenantId), export: path, expect: 3 }
        const { before: _, export: none, problems, ...planned } = yield* StreamPurge.plan(options)
        assert.deepStrictEqual([problems, none], [[], null])
        assert.lengthOf(yield* load(made), 2)
        assert.lengthOf(yield* keptRowsOf(made.aggregateId), 1)
        const { before: __, export: written, runId, ...done } = yield* StreamPurge.run(options)
        assert.deepStrictEqual(planned, done)
        assert.deepInclude(done, { streams: 1 + more.length, events: 6 })
        assert.deepInclude(written, { file: path, events: 6 })
        const run = yield* (yield* RunLog.RunLog).find(runId)
        assert.deepInclude(Option.getOrThrow(run), {
          operationType: "archived-stream-purge",
          done: 3,
          outcome: "applied"
        })
      }).pipe(Effect.scoped)
    )

    it.effect("is refused with every reason at once, before anything is deleted", () =>
      Effect.gen(function* () {
        const [made = yield* order([])] = yield* archivedOrders(2)
        const path = join(yield* folder, "there.jsonl")
        yield* Effect.promise(() => writeFile(path, "mine\n"))
        const options = { ...ofTenant(made.tenantId), acceptProjectionLoss: false, expect: 3, export: path }
        const expected = ["ProjectionLoss", "ExportExists", "UnexpectedStreams"]
        assert.deepStrictEqual(yield* problemsOf(options), expected)
        assert.deepStrictEqual(tags((yield* StreamPurge.plan(options)).problems), expected)
        assert.deepStrictEqual(yield* problemsOf({ ...options, keepRows: true, expect: 2, export: undefined }), [
          "ProjectionLoss"
        ])
        assert.deepStrictEqual(yield* problemsOf({ ...ofTenant(made.tenantId), export: join(path, "no.jsonl") }), [
          "ExportFailed"
        ])
        assert.deepStrictEqual(yield* (yield* RunLog.RunLog).unfinished, [])
        assert.lengthOf(yield* load(made), 2)
        assert.strictEqual(yield* Effect.promise(() => readFile(path, "utf8")), "mine\n")
      }).pipe(Effect.scoped)
    )

    it.effect("leaves rows where they are with keepRows, and marks nothing as outdated", () =>
      Effect.gen(function* () {
        const [made = yield* order([])] = yield* archivedOrders(1)
        const done = yield* StreamPurge.run({ ...ofTenant(made.tenantId), keepRows: true })
        assert.deepInclude(done, { streams: 1, rows: [], outdated: [] })
        // They are known to a rebuild, which refuses rows without events.
        const [report] = yield* ProjectionRebuild.run({ projections: ["kept"] })
        assert.deepInclude(report?.ghosts, { kept: 0, deleted: 0 })
        const [diff] = yield* ProjectionRebuild.diff({ projections: ["kept"] })
        assert.deepStrictEqual(
          diff?.tables.map(({ surplus }) => surplus.count),
          [0]
        )
        assert.lengthOf(yield* keptRowsOf(made.aggregateId), 1)
      })
    )

    it.effect("writes a line for each event before it is deleted", () =>
      Effect.gen(function* () {
        const streams = yield* archivedOrders(3)
        const [made = yield* order([])] = streams
        const events = (yield* Effect.forEach(streams, load)).flat()
        const path = join(yield* folder, "orders.jsonl")
        const { export: written } = yield* StreamPurge.run({ ...ofTenant(made.tenantId), export: path })
        const lines = yield* exported(path)
        assert.deepStrictEqual(lines.map(({ id }) => id).toSorted(), events.map(({ id }) => String(id)).toSorted())
        for (const line of lines) {
          const event = events.find(({ id }) => String(id) === line.id)
          assert.deepStrictEqual<unknown>({ ...line, id: event?.id }, event)
        }
        const text = yield* Effect.promise(() => readFile(path))
        assert.deepStrictEqual(written, { file: path, bytes: text.length, events: 6 })
      }).pipe(Effect.scoped)
    )

    it.effect("goes on where it was interrupted, and cuts off what was exported and not deleted", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "orders.jsonl")
        const [made = yield* order([])] = yield* archivedOrders(2)
        const options = { ...ofTenant(made.tenantId), export: path }
        // Behind the first batch is what it is about; the next run cuts the file first, and then purges the streams.
        for (const batches of [1, 2]) {
          yield* Effect.exit(StreamPurge.run({ ...options, observer: interruptingAfter(batches) }))
          yield* Effect.promise(() => appendFile(path, '{"half":'))
        }
        assert.deepStrictEqual(yield* load(made), [])
        assert.deepInclude(yield* StreamPurge.run({ ...options, expect: 2 }), { streams: 2, events: 4 })
        assert.lengthOf(yield* exported(path), 4)
      }).pipe(Effect.scoped)
    )

    it.effect("stops where its export has lost lines, and goes on once they are back", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "orders.jsonl")
        const [made = yield* order([])] = yield* archivedOrders(2)
        const options = { ...ofTenant(made.tenantId), export: path }
        yield* Effect.exit(StreamPurge.run({ ...options, observer: interruptingAfter(2) }))
        assert.deepStrictEqual(yield* load(made), [])
        const text = yield* Effect.promise(() => readFile(path))
        yield* Effect.promise(() => truncate(path, text.length - 1))
        // It is a failure of the run that is under way, and no refusal of a new one.
        assert.strictEqual((yield* Effect.flip(StreamPurge.run(options)))._tag, "ExportLost")
        yield* Effect.promise(() => rm(path))
        assert.strictEqual((yield* Effect.flip(StreamPurge.run(options)))._tag, "ExportLost")
        assert.deepStrictEqual(tags((yield* StreamPurge.plan(options)).problems), ["ExportLost"])
        yield* Effect.promise(() => writeFile(path, text))
        assert.deepInclude(yield* StreamPurge.run(options), { streams: 2, events: 4 })
      }).pipe(Effect.scoped)
    )

    it.effect("does not stop at a stream that has events of a type which was not named", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "orders.jsonl")
        const streams = yield* Effect.forEach([1, 2, 3], () => order(["order.placed"], { tenantId: shared }))
        const [, mixed = yield* order([])] = streams
        const [first] = yield* load(mixed)
        if (first !== undefined) {
          const { createdAt: _, createdBy: __, id: ___, ...event } = first
          yield* (yield* EventStore.EventStore).append([{ ...event, aggregateType: "invoice", version: 2 }])
        }
        yield* StreamArchive.run({ streams })
        const options = { ...ofTenant(shared), export: path }
        const { before: _, problems: __, export: ___, ...planned } = yield* StreamPurge.plan(options)
        const { before: ____, export: _____, runId: ______, ...done } = yield* StreamPurge.run(options)
        assert.deepStrictEqual(planned, done)
        assert.deepInclude(done, { streams: 2, events: 2 })
        assert.deepStrictEqual(
          done.failed.map(({ error, id }) => [id, error._tag]),
          [[mixed.aggregateId, "TypeNotNamed"]]
        )
        assert.lengthOf(yield* load(mixed), 2)
        assert.lengthOf(yield* exported(path), 2)
      }).pipe(Effect.scoped)
    )
  })

const shared = randomUUID()

/** The digest that a tombstone has of these lines. */
export const digestOf = (lines: ReadonlyArray<string>): string =>
  createHash("sha256")
    .update(lines.map((line) => `${line}\n`).join(""))
    .digest("hex")

export const features = [shop]
