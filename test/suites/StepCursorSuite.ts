/**
 * What every log of cursors does that are written step by step.
 */
import { assert, layer } from "@effect/vitest"
import { Cause, Duration, Effect, Option } from "effect"
import type { Layer } from "effect"
import type { EsOps } from "effect-es-ops"
import { Operation, OperationLock, RunLog, StepCursor, Transactor } from "effect-es-ops"
import { randomUUID } from "node:crypto"

const made = (more: Partial<StepCursor.StepProgress> = {}): StepCursor.StepProgress => ({
  cursor: "k'1",
  done: 2,
  total: Option.some(5),
  counters: { events: 2 },
  definition: "hash",
  isLast: false,
  lease: Duration.seconds(30),
  ...more
})

const type = "seed-migration"

/** In a step under the lock. */
const inStep = <A, E, R>(id: Operation.OperationId, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lock = yield* OperationLock.OperationLock
    return yield* Transactor.run(yield* Transactor.Transactor, Effect.zipRight(lock.claim(id), work), id)
  })

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`StepCursor: ${name}`, (it) => {
    it.effect("keeps how far a step came with the step, adds it up, and forgets it with the last one", () =>
      Effect.gen(function* () {
        const cursors = yield* StepCursor.StepCursor
        const id = Operation.OperationId.make(randomUUID())
        const read = Effect.map(
          cursors.read(type, id),
          Option.map(({ cursor, done, total }) => [cursor, done, total])
        )
        assert.deepStrictEqual(yield* read, Option.none())
        yield* inStep(id, cursors.write(type, id, made()))
        assert.deepStrictEqual(yield* read, Option.some([Option.some("k'1"), 2, Option.some(5)]))
        const undone = yield* Effect.exit(
          inStep(id, Effect.zipRight(cursors.write(type, id, made({ cursor: "k9", done: 7 })), Effect.fail("no")))
        )
        assert.isTrue(undone._tag === "Failure" && Option.contains(Cause.failureOption(undone.cause), "no"))
        const within = yield* inStep(
          id,
          Effect.zipRight(cursors.write(type, id, made({ cursor: "k2", total: Option.none() })), cursors.read(type, id))
        )
        assert.deepInclude(Option.getOrThrow(within), {
          name: id,
          cursor: Option.some("k2"),
          done: 4,
          total: Option.some(5),
          counters: { events: 4 },
          definition: "hash",
          isLive: true
        })
        assert.strictEqual((yield* cursors.halfDone(type)).get(id)?.done, 4)
        // Nobody cancels it: what is done would be done again.
        const log = yield* RunLog.RunLog
        assert.deepStrictEqual(yield* log.cancel(Option.getOrThrow(within).id, "cli"), Option.none())
        yield* inStep(id, cursors.write(type, id, made({ isLast: true, cursor: null })))
        assert.deepStrictEqual(yield* read, Option.none())
        assert.strictEqual((yield* log.newest(type)).get(id)?.outcome, "applied")
      })
    )

    it.effect("renames and forgets a row inside a step, and refuses to write outside of one", () =>
      Effect.gen(function* () {
        const cursors = yield* StepCursor.StepCursor
        const [a, b] = [Operation.OperationId.make(randomUUID()), Operation.OperationId.make(randomUUID())]
        yield* inStep(a, cursors.write(type, a, made()))
        assert.deepInclude(yield* Effect.flip(cursors.write(type, a, made())), { _tag: "DatabaseError" })
        assert.deepInclude(yield* Effect.flip(cursors.forget(type, a)), { _tag: "DatabaseError" })
        assert.isTrue(yield* inStep(b, cursors.rename(type, a, b)))
        assert.isFalse(yield* inStep(a, cursors.forget(type, a)))
        assert.isTrue(Option.isSome(yield* cursors.read(type, b)))
        assert.isTrue(yield* inStep(b, cursors.forget(type, b)))
        assert.deepStrictEqual(yield* cursors.read(type, b), Option.none())
      })
    )
  })
