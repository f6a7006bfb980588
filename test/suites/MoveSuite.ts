/**
 * What moving streams does, whatever the database.
 */
import { assert, layer } from "@effect/vitest"
import type { Layer } from "effect"
import { Effect, Option, Stream } from "effect"
import type { EsOps } from "effect-es-ops"
import {
  Event,
  EventStore,
  OperationLog,
  ProjectionRecords,
  RunLog,
  StreamArchive,
  StreamMove,
  StreamRestore
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { order, rowOf, shop } from "./ArchiveSuite.js"

const elsewhere = (stream: Event.StreamId, to: string = randomUUID()) => ({
  aggregateId: stream.aggregateId,
  from: stream.tenantId,
  to
})

const at = ({ aggregateId, to }: StreamMove.Move): Event.StreamId => ({ tenantId: to, aggregateId })

const load = (stream: Event.StreamId) => Effect.flatMap(EventStore.EventStore, (store) => store.load(stream))

/** The problem of the only move, which is refused. */
const problemOf = (move: StreamMove.Move, merge?: boolean) =>
  Effect.map(Effect.flip(StreamMove.run({ moves: [move], merge })), (error) =>
    error._tag === "MovesRefused" ? error.problems.map(({ _tag }) => _tag) : [error._tag]
  )

/** What the marker of the run says. */
const notesOf = ({ runId }: StreamMove.MovesDone) =>
  Effect.map(
    Effect.flatMap(OperationLog.OperationLog, ({ markers }) => markers),
    (markers) => markers.flatMap(({ id, notes }) => (id.endsWith(runId) ? Option.toArray(notes) : [])).join()
  )

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`moving streams: ${name}`, (it) => {
    it.effect("moves events, and read rows by their folds; nothing of the events but their tenant is changed", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed", "order.shipped"])
        const move = elsewhere(made)
        const before = yield* load(made)
        const report = yield* StreamMove.run({ moves: [move] })
        assert.deepInclude(report, { moved: 1, merged: 0, events: 2, failed: [], stragglers: [], outdated: ["skus"] })
        assert.deepStrictEqual(
          yield* load(at(move)),
          before.map((event) => ({ ...event, tenantId: move.to }))
        )
        assert.deepStrictEqual(yield* load(made), [])
        assert.deepInclude(yield* rowOf(made.aggregateId), { tenant_id: move.to, shipped: true })
        const [, skus] = yield* (yield* ProjectionRecords.ProjectionRecords).of(
          shop.projections.map(ProjectionRecords.asked)
        )
        assert.deepInclude(skus, { name: "skus", version: 0 })
      })
    )

    it.effect("lets the next append on the target succeed, and that on the source begin a stream of its own", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed"])
        const move = elsewhere(made)
        yield* StreamMove.run({ moves: [move] })
        yield* order(["order.shipped"], { ...at(move), version: 1 })
        const refused = yield* Effect.flip(order(["order.shipped"], { ...made, version: 1 }))
        assert.propertyVal(refused, "_tag", "VersionConflict")
      })
    )

    it.effect("refuses a stream that both tenants have, or with merge puts it together in the order of ids", () =>
      Effect.gen(function* () {
        const one = yield* order(["order.placed"])
        const move = elsewhere(one)
        yield* order(["order.placed"], { ...at(move), sku: randomUUID() }).pipe(Effect.ignore)
        yield* (yield* EventStore.EventStore).append([
          {
            ...one,
            aggregateType: "order",
            version: 2,
            type: "order.shipped",
            eventVersion: 1,
            payload: {},
            metadata: { userId: Event.systemUserId }
          }
        ])
        assert.deepStrictEqual(yield* problemOf(move), ["SplitStream"])
        const report = yield* StreamMove.run({ moves: [move], merge: true })
        assert.deepInclude(report, { moved: 1, merged: 1 })
        const events = yield* load(at(move))
        assert.deepStrictEqual(
          events.map(({ version }) => version),
          [1, 2, 3]
        )
        assert.deepStrictEqual(
          events.map(({ id }) => id),
          events.map(({ id }) => id).toSorted((a, b) => (a < b ? -1 : 1))
        )
      })
    )

    it.effect("takes the archive mark along", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed"])
        const move = elsewhere(made)
        yield* StreamArchive.run({ streams: [made] })
        yield* StreamMove.run({ moves: [move] })
        assert.propertyVal(
          yield* Effect.flip(order(["order.shipped"], { ...at(move), version: 1 })),
          "_tag",
          "StreamArchived"
        )
        assert.isUndefined(yield* rowOf(made.aggregateId))
        yield* StreamRestore.run({ streams: [at(move)] })
        assert.deepInclude(yield* rowOf(made.aggregateId), { tenant_id: move.to })
      })
    )

    it.effect("refuses what cannot be moved, each with its reason", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed"], { key: "shared" })
        assert.deepStrictEqual(yield* problemOf(elsewhere({ ...made, aggregateId: randomUUID() })), ["StreamNotFound"])
        assert.deepStrictEqual(yield* problemOf(elsewhere(made, made.tenantId.toUpperCase())), ["SameTenant"])
        assert.deepStrictEqual(yield* problemOf({ ...elsewhere(made), aggregateId: "none" }), ["InvalidStreamId"])
        const taken = elsewhere(made)
        yield* order(["order.placed"], { tenantId: taken.to, key: "shared" })
        assert.deepStrictEqual(yield* problemOf(taken), ["KeysTaken"])

        const other = yield* order(["order.placed"])
        const typed = elsewhere(other)
        yield* (yield* EventStore.EventStore).append([
          {
            ...at(typed),
            aggregateType: "invoice",
            version: 1,
            type: "invoice.paid",
            eventVersion: 1,
            payload: {},
            metadata: { userId: Event.systemUserId }
          }
        ])
        assert.deepStrictEqual(yield* problemOf(typed, true), ["OtherAggregateType"])

        const apart = elsewhere(yield* order(["order.placed"]))
        yield* order(["order.placed"], { ...at(apart), sku: randomUUID() }).pipe(Effect.ignore)
        yield* StreamArchive.run({ streams: [at(apart)] })
        assert.deepStrictEqual(yield* problemOf(apart, true), ["ArchivedApart"])
      })
    )

    it.effect("plans exactly what it would do, read rows and refusals too, and leaves nothing of that", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed", "order.shipped"])
        const held = yield* order(["order.placed"])
        yield* StreamArchive.run({ streams: [held] })
        const split = yield* order(["order.placed"])
        const moves = [
          elsewhere(made),
          elsewhere(held),
          elsewhere(split),
          elsewhere({ ...made, aggregateId: randomUUID() })
        ]
        const [, , both] = moves
        if (both !== undefined) yield* order(["order.placed"], { ...at(both), sku: randomUUID() }).pipe(Effect.ignore)
        const log = yield* RunLog.RunLog
        const before = [yield* load(made), yield* rowOf(made.aggregateId), yield* log.newest("stream-migration")]
        for (const merge of [false, true]) {
          const planned = yield* StreamMove.plan({ moves, merge })
          assert.deepStrictEqual(
            [yield* load(made), yield* rowOf(made.aggregateId), yield* log.newest("stream-migration")],
            before
          )
          if (!merge) {
            assert.deepInclude(planned, { moved: 2, merged: 0, events: 3 })
            continue
          }
          assert.deepInclude(planned, { moved: 3, merged: 1, events: 4, outdated: ["skus"] })
          const { runId: _, ...done } = yield* StreamMove.run({ moves, merge })
          assert.deepStrictEqual(planned, done)
        }
      })
    )

    it.effect("does not stop at one of many that fails, and finds the others done when it is run again", () =>
      Effect.gen(function* () {
        const moves = [
          elsewhere(yield* order(["order.placed"])),
          elsewhere({ tenantId: randomUUID(), aggregateId: randomUUID() }),
          elsewhere(yield* order(["order.placed"]))
        ]
        const [first] = moves
        const planned = yield* StreamMove.plan({ moves, merge: false })
        assert.deepInclude(planned, { moved: 2, unchanged: 0, events: 2 })
        const all = first === undefined ? moves : [...moves, { ...first, to: randomUUID() }]
        const report = yield* StreamMove.run({ moves: Stream.fromIterable(all) })
        assert.deepInclude(report, { moved: 2, events: 2 })
        assert.sameMembers(
          report.failed.map(({ error }) => error._tag),
          ["StreamNotFound", "MovedTwice"]
        )
        const again = yield* StreamMove.run({ moves })
        assert.deepInclude(again, { moved: 0, unchanged: 2 })
        assert.deepStrictEqual(
          [yield* notesOf(report), yield* notesOf(again)],
          ["2 streams moved to another tenant, 2 failed", "0 streams moved to another tenant, 1 failed"]
        )
      })
    )
  })
