/**
 * What every log of runs does.
 */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option } from "effect"
import type { Layer } from "effect"
import type { EsOps } from "effect-es-ops"
import { Event, EventStore, OperationLog, Run, RunLog } from "effect-es-ops"
import { randomUUID } from "node:crypto"

const request = (more: Partial<RunLog.RunRequest> = {}): RunLog.RunRequest => ({
  operationType: "projection-rebuild",
  name: randomUUID(),
  params: { mode: "merge" },
  definition: "1",
  access: Run.noAccess,
  tables: [],
  ...more
})

const ending = (outcome: RunLog.RunEnding["outcome"], more: Partial<RunLog.RunEnding> = {}): RunLog.RunEnding => ({
  outcome,
  error: Option.none(),
  appliedBy: "cli",
  marker: Option.none(),
  ...more
})

const fresh = () => ({ tenantId: randomUUID(), aggregateId: randomUUID() })

const event = (stream: Event.StreamId): Event.NewEvent => ({
  ...stream,
  aggregateType: "order",
  version: 1,
  type: "order.placed",
  eventVersion: 1,
  payload: {},
  metadata: { userId: Event.systemUserId }
})

/** The run that a request begins anew. */
const begin = (asked: RunLog.RunRequest) =>
  Effect.flatMap(RunLog.RunLog, (log) =>
    Effect.map(log.begin(asked), (begun) => {
      assert.strictEqual(begun._tag, "New")
      return begun.run
    })
  )

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`RunLog: ${name}`, (it) => {
    it.effect("begins one run of an operation, and finds another process in it after that", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const asked = request()
        const run = yield* begin(asked)
        const { tables: _, ...kept } = asked
        assert.deepInclude(run, { ...kept, epoch: 1, outcome: "running", done: 0, isLive: true, phase: "begun" })
        const again = yield* log.begin(asked)
        assert.deepStrictEqual([again._tag, again.run.id], ["Busy", run.id])
        const found = yield* log.unfinished
        assert.deepInclude(
          found.map(({ id }) => id),
          run.id
        )
      })
    )

    it.effect("lets one of many that begin at once have the run", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const asked = request()
        const all = yield* Effect.all(
          Array.from({ length: 6 }, () => log.begin(asked)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(all.map(({ _tag }) => _tag).toSorted(), ["Busy", "Busy", "Busy", "Busy", "Busy", "New"])
        assert.strictEqual(new Set(all.map(({ run }) => run.id)).size, 1)
      })
    )

    it.effect("refuses the same operation with other parameters, whether a process is in its run or it is paused", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const asked = request({ params: { b: [1, { x: null }], a: "1" } })
        const run = yield* begin(asked)
        const other = { ...asked, params: { mode: "swap" } }
        const busy = yield* Effect.flip(log.begin(other))
        assert.deepInclude(busy, { _tag: "RunInProgress", id: run.id })
        assert.match(busy.message, /is under way as run \S+ \(.*\), and it has other parameters\. es-ops runs shows it/)
        // The order of keys is none of the work.
        assert.strictEqual((yield* log.begin({ ...asked, params: { a: "1", b: [1, { x: null }] } }))._tag, "Busy")
        yield* log.end(run, ending("paused"), Effect.void)
        const left = yield* Effect.flip(log.begin(other))
        assert.deepInclude(left, { _tag: "RunInProgress", id: run.id })
        assert.match(
          left.message,
          /is half done as run .*, and it has other parameters\. The command that began it goes on/
        )
      })
    )

    it.effect("keeps what a batch did together with how far it came, or nothing of both", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const store = yield* EventStore.EventStore
        const run = yield* begin(request())
        const [kept, undone] = [fresh(), fresh()]
        const value = yield* log.batch(
          run,
          Effect.as(store.append([event(kept)]), {
            value: "it",
            phase: "bulk",
            cursor: { at: ["7"] },
            done: 2,
            total: 9,
            counters: { written: 2, "odd 'name": 1 }
          })
        )
        yield* log.batch(run, Effect.succeed({ value: 0, done: 3, counters: { written: 1.5 } }))
        const failed = yield* Effect.exit(
          log.batch(run, Effect.zipRight(store.append([event(undone)]), Effect.fail("no" as const)))
        )
        assert.deepStrictEqual([value, failed], ["it", Exit.fail("no" as const)])
        const found = Option.getOrThrow(yield* log.find(run.id))
        assert.deepInclude(found, {
          phase: "bulk",
          cursor: Option.some({ at: ["7"] }),
          done: 5,
          total: Option.some(9),
          counters: { written: 3.5, "odd 'name": 1 }
        })
        assert.deepStrictEqual([yield* store.version(kept), yield* store.version(undone)], [1, 0])
      })
    )

    it.effect("keeps a cursor for each lane, adds up what lanes did, and gives their cursors to who goes on", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const asked = request()
        const run = yield* begin(asked)
        const lane = (name: string, cursor: string, done: number) =>
          log.batch(run, Effect.succeed({ value: 0, lane: name, cursor, done, counters: { written: done } }))
        yield* Effect.all([lane("0", "a", 1), lane("1", "m", 2)], { concurrency: "unbounded" })
        yield* lane("0", "b", 4)
        yield* log.batch(run, Effect.succeed({ value: 0, lane: "1", done: 1, phase: "bulk", total: 8 }))
        assert.deepInclude(Option.getOrThrow(yield* log.find(run.id)), {
          done: 8,
          counters: { written: 7 },
          cursor: Option.none(),
          phase: "bulk"
        })
        yield* log.end(run, ending("paused"), Effect.void)
        const resumed = yield* log.begin(asked)
        assert.deepInclude(resumed, { _tag: "Resumed" })
        assert.deepInclude(resumed.run, { id: run.id, epoch: 2, done: 8, outcome: "running", isLive: true })
        assert.deepStrictEqual(resumed._tag === "Resumed" ? resumed.lanes : [], [
          { lane: "0", cursor: Option.some("b"), done: 5, batches: 2 },
          { lane: "1", cursor: Option.some("m"), done: 3, batches: 2 }
        ])
      })
    )

    it.effect("lets a process join a run, and keeps nothing of a lane that another went on with", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const store = yield* EventStore.EventStore
        const run = yield* begin(request())
        const [a, b, c] = [fresh(), fresh(), fresh()]
        const lane = (after: number, stream: Event.StreamId) =>
          log.batch(
            run,
            Effect.as(store.append([event(stream)]), { value: 0, lane: "0", cursor: after, done: 1, after })
          )
        yield* lane(0, a)
        const joined = yield* log.join(run)
        assert.deepStrictEqual(
          [joined.run.id, joined.lanes],
          [run.id, [{ lane: "0", cursor: Option.some(0), done: 1, batches: 1 }]]
        )
        yield* lane(1, b)
        for (const after of [0, 1, 7]) {
          assert.strictEqual((yield* Effect.flip(lane(after, c)))._tag, "RunLost")
        }
        assert.deepStrictEqual(yield* Effect.all([a, b, c].map((stream) => store.version(stream))), [1, 1, 0])
        assert.strictEqual(
          (yield* Effect.flip(log.batch(run, Effect.succeed({ value: 0, lane: "new", after: 1 }))))._tag,
          "RunLost"
        )
        yield* log.end(run, ending("paused"), Effect.void)
        assert.strictEqual((yield* Effect.flip(log.join(run)))._tag, "RunLost")
      })
    )

    it.effect("keeps nothing of what an owner sends once another has its run, or it was cancelled", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const store = yield* EventStore.EventStore
        const asked = request()
        const run = yield* begin(asked)
        yield* log.end(run, ending("paused"), Effect.void)
        const { run: taken } = yield* log.begin(asked)
        const [a, b] = [fresh(), fresh()]
        const late = (key: Run.RunKey, stream: Event.StreamId) =>
          Effect.flip(log.batch(key, Effect.as(store.append([event(stream)]), { value: 0, done: 1 })))
        assert.deepInclude(yield* late(run, a), { _tag: "RunLost", id: run.id })
        assert.deepInclude(yield* Effect.flip(log.renew(run)), { _tag: "RunLost" })
        assert.deepInclude(yield* Effect.flip(log.end(run, ending("applied"), Effect.void)), { _tag: "RunLost" })
        yield* log.renew(taken)
        assert.deepInclude(yield* log.cancel(run.id, "cli"), { _tag: "Some" })
        assert.deepInclude(yield* late(taken, b), { _tag: "RunCancelled", id: run.id })
        assert.deepInclude(yield* Effect.flip(log.renew(taken)), { _tag: "RunCancelled" })
        assert.deepStrictEqual(yield* log.cancel(run.id, "cli"), Option.none())
        assert.deepStrictEqual([yield* store.version(a), yield* store.version(b)], [0, 0])
        assert.deepInclude(Option.getOrThrow(yield* log.find(run.id)), { outcome: "cancelled", done: 0, isLive: false })
      })
    )

    it.effect("ends a run with its last work, marker and attempt, or with none of them", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const operations = yield* OperationLog.OperationLog
        const store = yield* EventStore.EventStore
        const asked = request()
        const run = yield* begin(asked)
        const stream = fresh()
        const work = Effect.asVoid(store.append([event(stream)]))
        const applied = ending("applied", { marker: Option.some("by hand"), phase: "through", done: 1 })
        assert.strictEqual(yield* Effect.flip(log.end(run, applied, Effect.zipRight(work, Effect.fail("no")))), "no")
        assert.strictEqual(Option.getOrThrow(yield* log.find(run.id)).outcome, "running")
        yield* log.end(run, applied, work)
        const id = `projection-rebuild:${run.name}:${run.id}`
        const [marker] = (yield* operations.markers).filter((other) => other.id === id)
        assert.deepInclude(marker, {
          operationType: "projection-rebuild",
          appliedBy: "cli",
          notes: Option.some("by hand")
        })
        const [attempt] = (yield* operations.attempts({})).filter(({ operationId }) => operationId === id)
        assert.deepInclude(attempt, { outcome: "applied", operationType: "projection-rebuild", attempt: 1 })
        assert.strictEqual(yield* store.version(stream), 1)
        assert.deepInclude(Option.getOrThrow(yield* log.find(run.id)), {
          outcome: "applied",
          phase: "through",
          done: 1
        })
        const next = yield* log.begin(asked)
        assert.deepInclude(next, { _tag: "New" })
        assert.strictEqual(next._tag === "New" && Option.getOrThrow(next.previous).id, run.id)
      })
    )

    it.effect("tells of a failed run with its error, and clears what it left only once it has ended", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const store = yield* EventStore.EventStore
        const run = yield* begin(request())
        const stream = fresh()
        const clear = log.clear(run, Effect.asVoid(store.append([event(stream)])))
        yield* clear
        assert.strictEqual(yield* store.version(stream), 0)
        const error = { _tag: "Boom", code: null, message: "it's broken" }
        yield* log.end(run, ending("failed", { error: Option.some(error) }), Effect.void)
        yield* clear
        assert.strictEqual(yield* store.version(stream), 1)
        const newest = (yield* log.newest("projection-rebuild")).get(run.name)
        assert.deepInclude(newest, { outcome: "failed", id: run.id })
        assert.deepInclude(newest === undefined ? undefined : Option.getOrThrow(newest.error), error)
      })
    )

    it.effect("lets nothing change what another run reads, whichever began first", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const type = randomUUID()
        const reads = request({ access: { reads: [type, "other"], changes: [] } })
        const changes = request({ operationType: "stream-migration", access: { reads: [], changes: [type] } })
        const reader = yield* begin(reads)
        assert.deepInclude(yield* Effect.flip(log.begin(changes)), { _tag: "RunInProgress", id: reader.id })
        yield* begin(request({ access: { reads: [type], changes: [] } })).pipe(
          Effect.flatMap((second) => log.end(second, ending("applied"), Effect.void))
        )
        yield* log.end(reader, ending("paused"), Effect.void)
        assert.deepInclude(yield* Effect.flip(log.begin(changes)), { _tag: "RunInProgress", id: reader.id })
        yield* log.cancel(reader.id, "cli")
        const changer = yield* begin(changes)
        assert.deepInclude(yield* Effect.flip(log.begin(reads)), { _tag: "RunInProgress", id: changer.id })
        yield* log.cancel(changer.id, "cli")
      })
    )

    it.effect("undoes a batch that is interrupted, and goes on after it", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        const store = yield* EventStore.EventStore
        const run = yield* begin(request())
        const stream = fresh()
        const inside = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          log.batch(
            run,
            store
              .append([event(stream)])
              .pipe(Effect.zipRight(Deferred.succeed(inside, undefined)), Effect.zipRight(Effect.never))
          )
        )
        yield* Deferred.await(inside)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        assert.strictEqual(yield* log.batch(run, Effect.succeed({ value: 1, done: 1 })), 1)
        assert.strictEqual(yield* store.version(stream), 0)
        assert.strictEqual(Option.getOrThrow(yield* log.find(run.id)).done, 1)
      })
    )

    it.effect("finds no run of an id that is none", () =>
      Effect.gen(function* () {
        const log = yield* RunLog.RunLog
        assert.deepStrictEqual(yield* log.find("it's none"), Option.none())
        assert.deepStrictEqual(yield* log.cancel("none", "cli"), Option.none())
      })
    )
  })
