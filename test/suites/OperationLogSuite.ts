/**
 * What every log keeps: markers, which are forgotten and renamed, and the attempts at each operation.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { Layer } from "effect"
import { Operation, OperationLock, OperationLog, Transactor } from "effect-es-ops"
import type { EsOps } from "effect-es-ops"
import { attempt, Boom, isMarked, marker, newId, outcomesOf, step } from "./Steps.js"

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`the record: ${name}`, (it) => {
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
        const [id, second, other] = [newId(), newId(), newId()]
        yield* step(id, Effect.void)
        yield* step(second, Effect.void)
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
