/**
 * What every lock, transactor and log do together: one step, all of it or nothing but its attempt.
 */
import { assert, layer } from "@effect/vitest"
import { Cause, DateTime, Deferred, Effect, Exit, Fiber, Option, Schema } from "effect"
import type { Layer } from "effect"
import { DatabaseHealth, Event, EventStore, Operation, OperationLock, OperationLog, Transactor } from "effect-es-ops"
import type { Attempt, EsOps, OperationError } from "effect-es-ops"
import { randomUUID } from "node:crypto"

class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}

const newId = () => Operation.OperationId.make(`step-${randomUUID()}`)

const marker = (id: Operation.OperationId): Operation.NewMarker => ({
  id,
  operationType: Operation.seedMigration,
  durationMs: 7,
  appliedBy: "cli",
  notes: Option.some("it's a note")
})

const attempt = (id: Operation.OperationId, outcome: Attempt.AttemptOutcome): Attempt.NewAttempt => ({
  operationId: id,
  operationType: Operation.seedMigration,
  outcome,
  startedAt: DateTime.unsafeMake("2026-01-02T03:04:05.678Z"),
  endedAt: Option.some(DateTime.unsafeMake("2026-01-02T03:04:06.789Z")),
  durationMs: Option.some(1111),
  waitedMs: Option.some(22),
  appliedBy: "cli",
  host: "a-host",
  pid: 4711,
  version: Option.some("1.2.3"),
  sourceHash: Option.some("abc"),
  reason: Option.none(),
  error: Option.none()
})

const append = (stream: Event.StreamId, version: number) =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    store.append([
      { ...stream, aggregateType: "t", version, type: "t.e", eventVersion: 1, payload: {}, metadata: { userId: "u" } }
    ])
  )

const versionOf = (stream: Event.StreamId) => Effect.flatMap(EventStore.EventStore, (store) => store.version(stream))

const fresh = () => ({ tenantId: randomUUID(), aggregateId: randomUUID() })

type ClaimError = OperationError.LockHeld | OperationError.AlreadyApplied | OperationError.DatabaseError

/** A step as the runner makes it: claim, body, mark; a failure leaves an attempt. */
const step = <A, E, R>(id: Operation.OperationId, body: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lock = yield* OperationLock.OperationLock
    const transactor = yield* Transactor.Transactor
    const record = { marker: marker(id), attempt: attempt(id, "applied") }
    const work = (restore: Transactor.Restore): Effect.Effect<Transactor.StepEnding<A, E | ClaimError>, never, R> =>
      Effect.gen(function* () {
        const claimed = yield* Effect.exit(restore(lock.claim(id)))
        if (Exit.isFailure(claimed)) return Transactor.undo(claimed.cause)
        const exit = yield* Effect.exit(restore(body))
        if (Exit.isSuccess(exit)) return Transactor.keep(exit.value, Option.some(record))
        const outcome = Cause.isInterruptedOnly(exit.cause) ? "interrupted" : "failed"
        return Transactor.undo(exit.cause, Option.some(attempt(id, outcome)))
      })
    const result = yield* Effect.uninterruptibleMask((restore) => transactor.step(work(restore), id, restore))
    if (result._tag === "Unanswered") return yield* result.lost
    return result._tag === "Committed" ? result.value : yield* Effect.failCause(result.cause)
  })

const outcomesOf = (id: Operation.OperationId) =>
  Effect.gen(function* () {
    const log = yield* OperationLog.OperationLog
    return (yield* log.attempts({ id })).map(({ outcome }) => outcome)
  })

const isMarked = (id: Operation.OperationId) =>
  Effect.map(
    Effect.flatMap(OperationLog.OperationLog, (log) => log.applied),
    (applied) => applied.has(id)
  )

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`a step: ${name}`, (it) => {
    it.effect("keeps what its body wrote, with marker and attempt", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        assert.strictEqual(yield* step(id, Effect.as(append(stream, 1), "answer")), "answer")
        assert.strictEqual(yield* versionOf(stream), 1)
        const log = yield* OperationLog.OperationLog
        assert.strictEqual((yield* log.applied).get(id), "seed-migration")
        const kept = (yield* log.markers).find((found) => found.id === id)
        assert.deepInclude(kept, marker(id))
        const [recorded] = yield* log.attempts({ id })
        assert.deepInclude(recorded, { ...attempt(id, "applied"), attempt: 1 })
        assert.deepInclude((yield* log.lastAttempts).get(id), { outcome: "applied" })
      })
    )

    it.effect("forgets a marker of its type only, and keeps the attempt; a step that fails forgets nothing", () =>
      Effect.gen(function* () {
        const id = newId()
        yield* step(id, Effect.void)
        const lock = yield* OperationLock.OperationLock
        const log = yield* OperationLog.OperationLog
        const transactor = yield* Transactor.Transactor
        const forget = (operationType: string) =>
          Effect.zipRight(lock.claim(newId()), log.unmark({ id, operationType }, attempt(id, "unmarked")))
        assert.isFalse(yield* Transactor.run(transactor, forget("projection-rebuild"), id))
        const failed = Transactor.run(transactor, Effect.zipRight(forget(Operation.seedMigration), new Boom()), id)
        assert.strictEqual((yield* Effect.flip(failed))._tag, "Boom")
        assert.isTrue(yield* isMarked(id))
        assert.deepStrictEqual(yield* outcomesOf(id), ["applied"])
        assert.isTrue(yield* Transactor.run(transactor, forget(Operation.seedMigration), id))
        assert.isFalse(yield* isMarked(id))
        assert.deepStrictEqual(yield* outcomesOf(id), ["unmarked", "applied"])
        const outside = yield* Effect.flip(log.unmark({ id, operationType: "x" }, attempt(id, "unmarked")))
        assert.strictEqual(outside._tag, "DatabaseError")
      })
    )

    it.effect("renames a marker of its type only, and keeps the attempts; a step that fails renames nothing", () =>
      Effect.gen(function* () {
        const [from, to] = [newId(), newId()]
        yield* step(from, Effect.void)
        const lock = yield* OperationLock.OperationLock
        const log = yield* OperationLog.OperationLog
        const transactor = yield* Transactor.Transactor
        const move = (operationType: string) =>
          Effect.zipRight(
            lock.claim(to),
            log.rename({ from, to, operationType }, [attempt(from, "unmarked"), attempt(to, "marked")])
          )
        assert.isFalse(yield* Transactor.run(transactor, move("projection-rebuild"), to))
        const failed = Transactor.run(transactor, Effect.zipRight(move(Operation.seedMigration), new Boom()), to)
        assert.strictEqual((yield* Effect.flip(failed))._tag, "Boom")
        assert.isTrue(yield* isMarked(from))
        const before = (yield* log.markers).find(({ id }) => id === from)
        assert.isTrue(yield* Transactor.run(transactor, move(Operation.seedMigration), to))
        assert.deepStrictEqual([yield* isMarked(from), yield* isMarked(to)], [false, true])
        assert.deepStrictEqual(
          (yield* log.markers).find(({ id }) => id === to),
          before && { ...before, id: to }
        )
        assert.deepStrictEqual([yield* outcomesOf(from), yield* outcomesOf(to)], [["unmarked", "applied"], ["marked"]])
        const outside = yield* Effect.flip(log.rename({ from, to, operationType: "x" }, []))
        assert.strictEqual(outside._tag, "DatabaseError")
      })
    )

    it.effect("compares the seeds that are applied with those that are listed, whatever else was done", () =>
      Effect.gen(function* () {
        const [id, other] = [newId(), newId()]
        yield* step(id, Effect.void)
        const lock = yield* OperationLock.OperationLock
        const log = yield* OperationLog.OperationLog
        const transactor = yield* Transactor.Transactor
        const replay = { ...marker(other), operationType: "event-replay" }
        const record = Option.some({ marker: replay, attempt: attempt(other, "applied") })
        yield* Transactor.run(transactor, lock.claim(other), other, record)
        const applied = yield* log.applied
        assert.deepStrictEqual([applied.get(id), applied.get(other)], ["seed-migration", "event-replay"])
        const compared = (ids: ReadonlyArray<string>) =>
          Effect.map(log.applied, (found) => {
            assert.deepStrictEqual([...found], [...applied])
            return found.isExactly(Operation.seedMigration, ids)
          })
        const seeds = [...applied].filter(([, type]) => type === Operation.seedMigration).map(([name]) => name)
        assert.isTrue(yield* compared(seeds))
        assert.isTrue(yield* compared(seeds.toReversed()))
        assert.isFalse(yield* compared(seeds.slice(1)))
        assert.isFalse(yield* compared([...seeds, newId()]))
        assert.isFalse(yield* compared([...seeds, other]))
        assert.isFalse(yield* compared([...seeds.slice(1), other]))
        assert.isFalse(yield* compared([...seeds.slice(1), ...seeds.slice(1, 2)]))
        // A step needs no other connection than its own.
        const inside = yield* Transactor.run(transactor, Effect.zipRight(lock.claim(newId()), log.applied), id)
        assert.deepStrictEqual([...inside], [...applied])
        assert.isTrue(inside.isExactly(Operation.seedMigration, seeds))
      })
    )

    it.effect("finds a database that it can use healthy", () =>
      Effect.gen(function* () {
        const health = yield* DatabaseHealth.DatabaseHealth
        assert.deepStrictEqual(yield* health.mismatches, [])
        const found = yield* health.examine
        assert.isAbove(found.length, 0)
        assert.strictEqual(found[0]?.name, "connection")
        assert.deepStrictEqual(
          found.filter(({ fault, name }) => fault !== "none" && name !== "lock"),
          []
        )
      })
    )

    it.effect("undoes a body that fails, and keeps its attempt; the failure is the body's", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        const error = yield* Effect.flip(step(id, Effect.zipRight(append(stream, 1), new Boom())))
        assert.strictEqual(error._tag, "Boom")
        assert.strictEqual(yield* versionOf(stream), 0)
        assert.isFalse(yield* isMarked(id))
        assert.deepStrictEqual(yield* outcomesOf(id), ["failed"])
      })
    )

    it.effect("undoes a body that dies, and keeps the defect", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        const exit = yield* Effect.exit(step(id, Effect.zipRight(append(stream, 1), Effect.dieMessage("bang"))))
        assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
        assert.strictEqual(yield* versionOf(stream), 0)
        assert.deepStrictEqual(yield* outcomesOf(id), ["failed"])
      })
    )

    it.effect("undoes a body that is interrupted, records it, and releases the lock", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        const inside = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          step(
            id,
            append(stream, 1).pipe(Effect.zipRight(Deferred.succeed(inside, void 0)), Effect.zipRight(Effect.never))
          )
        )
        yield* Deferred.await(inside)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        assert.strictEqual(yield* versionOf(stream), 0)
        assert.deepStrictEqual(yield* outcomesOf(id), ["interrupted"])
        yield* step(id, Effect.void)
      })
    )

    it.effect("numbers the attempts of an operation from 1, and gives them newest first", () =>
      Effect.gen(function* () {
        const id = newId()
        // More than ten: as text, 10 would come before 9.
        for (let failed = 0; failed < 11; failed++) yield* Effect.ignore(step(id, new Boom()))
        yield* step(id, Effect.void)
        const log = yield* OperationLog.OperationLog
        const attempts = yield* log.attempts({ id })
        assert.deepStrictEqual(
          attempts.map((a) => [a.attempt, a.outcome]),
          Array.from({ length: 12 }, (_, n) => [12 - n, n === 0 ? "applied" : "failed"])
        )
        const [, second] = attempts
        const after = yield* log.attempts({ id, after: second?.id })
        assert.deepStrictEqual(
          after.map((a) => a.attempt),
          [12]
        )
      })
    )

    it.effect("is refused once it is applied, and leaves no trace of that", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        yield* step(id, Effect.void)
        const error = yield* Effect.flip(step(id, append(stream, 1)))
        assert.deepInclude(error, { _tag: "AlreadyApplied", id })
        assert.strictEqual(yield* versionOf(stream), 0)
        assert.deepStrictEqual(yield* outcomesOf(id), ["applied"])
      })
    )

    it.effect("holds the lock until it ends: another finds it held, and by whom", () =>
      Effect.gen(function* () {
        const inside = yield* Deferred.make<void>()
        const leave = yield* Deferred.make<void>()
        const [first, second] = [newId(), newId()]
        const fiber = yield* Effect.fork(
          step(first, Effect.zipRight(Deferred.succeed(inside, void 0), Deferred.await(leave)))
        )
        yield* Deferred.await(inside)
        const held = yield* Effect.flip(step(second, Effect.void))
        assert.strictEqual(held._tag, "LockHeld")
        if (held._tag === "LockHeld") assert.isTrue(Option.isSome(held.holder))
        assert.deepStrictEqual(yield* outcomesOf(second), [])
        yield* Deferred.succeed(leave, void 0)
        yield* Fiber.join(fiber)
        yield* step(second, Effect.void)
      })
    )

    it.effect("is probed without being taken: who holds it, and what is applied all the same", () =>
      Effect.gen(function* () {
        const { probe, ready } = yield* OperationLock.OperationLock
        const inside = yield* Deferred.make<void>()
        const leave = yield* Deferred.make<void>()
        const [done, first, second] = [newId(), newId(), newId()]
        yield* step(done, Effect.void)
        assert.isTrue(yield* ready(first))
        yield* probe(first)
        const fiber = yield* Effect.fork(
          step(first, Effect.zipRight(Deferred.succeed(inside, void 0), Deferred.await(leave)))
        )
        yield* Deferred.await(inside)
        const held = yield* Effect.flip(probe(second))
        assert.deepInclude(held, { _tag: "LockHeld", id: second })
        if (held._tag === "LockHeld") assert.isTrue(Option.isSome(held.holder))
        assert.deepInclude(yield* Effect.flip(probe(done)), { _tag: "AlreadyApplied", id: done })
        yield* Deferred.succeed(leave, void 0)
        yield* Fiber.join(fiber)
        assert.deepInclude(yield* Effect.flip(probe(first)), { _tag: "AlreadyApplied", id: first })
        yield* probe(second)
        yield* step(second, Effect.void)
      })
    )

    it.effect("can be checked as its commit would be, and goes on; nothing outside a step can", () =>
      Effect.gen(function* () {
        const { checkDeferred } = yield* Transactor.Transactor
        const [id, stream] = [newId(), fresh()]
        yield* step(id, Effect.zipRight(Effect.zipRight(append(stream, 1), checkDeferred), append(stream, 2)))
        assert.strictEqual(yield* versionOf(stream), 2)
        assert.strictEqual((yield* Effect.flip(checkDeferred))._tag, "DatabaseError")
      })
    )

    it.effect("keeps other parts of the body when one turn fails and the body goes on", () =>
      Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const [id, kept, undone] = [newId(), fresh(), fresh()]
        yield* step(
          id,
          Effect.gen(function* () {
            yield* transactor.savepoint(append(kept, 1))
            const error = yield* Effect.flip(transactor.savepoint(Effect.zipRight(append(undone, 1), new Boom())))
            assert.strictEqual(error._tag, "Boom")
            yield* transactor.savepoint(append(kept, 2))
          })
        )
        assert.deepStrictEqual([yield* versionOf(kept), yield* versionOf(undone)], [2, 0])
      })
    )

    it.effect("lets turns take turns, so that concurrent ones that fail undo themselves only", () =>
      Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const streams = Array.from({ length: 12 }, fresh)
        yield* step(
          newId(),
          Effect.forEach(
            streams,
            (stream, index) => {
              const write = Effect.zipRight(append(stream, 1), append(stream, 2))
              return Effect.exit(transactor.savepoint(index % 3 === 0 ? Effect.zipRight(write, new Boom()) : write))
            },
            { concurrency: "unbounded" }
          )
        )
        const versions = yield* Effect.forEach(streams, versionOf)
        assert.deepStrictEqual(
          versions,
          streams.map((_, index) => (index % 3 === 0 ? 0 : 2))
        )
      })
    )

    it.effect("refuses a turn that comes after its end", () =>
      Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const stream = fresh()
        const over = yield* Deferred.make<void>()
        const late = yield* step(
          newId(),
          Effect.forkDaemon(Effect.zipRight(Deferred.await(over), transactor.savepoint(append(stream, 1))))
        )
        yield* Deferred.succeed(over, void 0)
        const error = yield* Effect.flip(Fiber.join(late))
        assert.strictEqual(error._tag, "DatabaseError")
        assert.strictEqual(yield* versionOf(stream), 0)
      })
    )

    it.effect("outside any transaction, that begins says of what never ended that it was interrupted", () =>
      Effect.gen(function* () {
        const lock = yield* OperationLock.OperationLock
        const log = yield* OperationLog.OperationLog
        const transactor = yield* Transactor.Transactor
        const [id, other] = [newId(), newId()]
        const running = { endedAt: Option.none(), durationMs: Option.none() }
        const begin = (of: Operation.OperationId) =>
          transactor.session(Effect.zipRight(lock.claim(of), log.begin({ ...attempt(of, "running"), ...running })), of)
        yield* begin(other)
        yield* begin(id)
        yield* begin(id)
        assert.deepStrictEqual(yield* outcomesOf(id), ["running", "interrupted"])
        assert.deepStrictEqual(yield* outcomesOf(other), ["running"])
        assert.deepInclude((yield* log.attempts({ id })).at(-1), running)
      })
    )

    it.effect("records an outcome once until another follows", () =>
      Effect.gen(function* () {
        const log = yield* OperationLog.OperationLog
        const id = newId()
        yield* Effect.all(
          Array.from({ length: 5 }, () => log.recordOnce(attempt(id, "skipped"))),
          {
            concurrency: "unbounded"
          }
        )
        assert.deepStrictEqual(yield* outcomesOf(id), ["skipped"])
        yield* step(id, Effect.void)
        yield* log.recordOnce(attempt(id, "skipped"))
        assert.deepStrictEqual(yield* outcomesOf(id), ["skipped", "applied", "skipped"])
      })
    )
  })
