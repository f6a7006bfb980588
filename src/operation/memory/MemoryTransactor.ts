/**
 * `Transactor` of a `MemoryDatabase`: what a failed step changed is put back, in every view.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { NewAttempt } from "../Attempt.js"
import * as Mutex from "../Mutex.js"
import { DatabaseError } from "../OperationError.js"
import { outsideStep } from "../OutsideStep.js"
import { QueryUnavailable } from "../QueryError.js"
import type { StepEnding, StepResult } from "../Transactor.js"
import { Transactor } from "../Transactor.js"
import { CurrentSavepoint } from "../CurrentSavepoint.js"
import * as MemoryDatabase from "./MemoryDatabase.js"
import * as MemoryLog from "./MemoryLog.js"
import { MemoryStep } from "./MemoryStep.js"

/** Transactions of a `MemoryDatabase`. */
export const layer: Layer.Layer<Transactor, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  Transactor,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const log = MemoryLog.viewOf(database)
    const undoable = undoableIn(database)

    /** Alone among those of this database: undoing one must not undo another. A part of a part belongs to it. */
    const outside = <A, E, R>(part: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.flatMap(Effect.serviceOption(CurrentSavepoint), (around) => {
        if (Option.exists(around, ({ ended, step }) => step === database && !ended)) return undoable(part)
        const current = { step: database, ended: false }
        const end = Effect.sync(() => {
          current.ended = true
        })
        return turnOf(database).alone(
          undoable(part).pipe(Effect.provideService(CurrentSavepoint, current), Effect.ensuring(end))
        )
      })

    const step = <A, E, R>(
      work: Effect.Effect<StepEnding<A, E>, never, R>
    ): Effect.Effect<StepResult<A, E>, never, R> =>
      Effect.uninterruptible(
        Effect.gen(function* () {
          const memory = yield* makeStep(database, undoable)
          const ending = yield* Effect.provideService(work, MemoryStep, memory.step)
          yield* memory.seal
          return yield* Effect.ensuring(conclude(ending, memory, log), memory.release)
        })
      )

    return Transactor.of({
      step,
      session: (body) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.flatMap(makeStep(database, undoable), (memory) =>
            restore(body).pipe(
              Effect.provideService(MemoryStep, memory.step),
              Effect.ensuring(Effect.zipRight(memory.seal, memory.release))
            )
          )
        ),
      savepoint: (part) =>
        Effect.flatMap(
          Effect.serviceOption(MemoryStep),
          Option.match({ onNone: () => outside(part), onSome: (current) => current.savepoint(part) })
        ),
      checkDeferred: Effect.flatMap(Effect.serviceOption(MemoryStep), (current) =>
        Option.isNone(current) ? outsideStep("checking constraints") : Effect.void
      ),
      transactionId: Effect.succeedNone,
      query: () => new QueryUnavailable()
    })
  })
)

/** The turns of what is written outside a step, by the database that may be shared by several layers. */
const turns = new WeakMap<object, Mutex.Mutex>()

const turnOf = (database: object): Mutex.Mutex => {
  const turn = turns.get(database) ?? Mutex.make()
  turns.set(database, turn)
  return turn
}

type MadeStep = Effect.Effect.Success<ReturnType<typeof makeStep>>

/** Keeps or undoes what a step did; a marker that is there by then refuses it. */
const conclude = <A, E>(
  ending: StepEnding<A, E>,
  memory: MadeStep,
  log: MemoryLog.LogView
): Effect.Effect<StepResult<A, E>> =>
  Effect.gen(function* () {
    const undone = (cause: StepResultCause<E>, attempt: Option.Option<NewAttempt>) =>
      Effect.as(
        Effect.zipRight(memory.undo, Option.match(attempt, { onNone: () => Effect.void, onSome: log.record })),
        { _tag: "RolledBack", cause } as const
      )
    if (ending._tag === "Undo") return yield* undone(ending.cause, ending.attempt)
    const marked = yield* Effect.either(Option.match(ending.record, { onNone: () => Effect.void, onSome: log.mark }))
    if (marked._tag === "Right") return { _tag: "Committed", value: ending.value } as const
    return yield* undone(Cause.fail(marked.left), Option.none())
  })

type StepResultCause<E> = Extract<StepResult<never, E>, { readonly _tag: "RolledBack" }>["cause"]

const undoableIn =
  (database: MemoryDatabase.MemoryDatabase["Type"]) =>
  <A, E, R>(part: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Ref.get(database.state), (before) =>
        Effect.onExit(restore(part), (exit) => (Exit.isFailure(exit) ? Ref.set(database.state, before) : Effect.void))
      )
    )

const makeStep = (
  database: MemoryDatabase.MemoryDatabase["Type"],
  undoable: <A, E, R>(part: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const before = yield* Ref.make(Option.none<Context.Context<never>>())
    const sealed = yield* Ref.make(false)
    const mutex = Mutex.make()
    const self = {}
    const alone = <A, E, R>(part: Effect.Effect<A, E, R>) =>
      Effect.flatMap(Effect.serviceOption(CurrentSavepoint), (current) =>
        Option.exists(current, ({ ended, step }) => step === self && !ended) ? part : mutex.alone(part)
      )
    const inSavepoint = <A, E, R>(part: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        const current = { step: self, ended: false }
        const end = Effect.sync(() => {
          current.ended = true
        })
        return undoable(part).pipe(Effect.provideService(CurrentSavepoint, current), Effect.ensuring(end))
      })
    const refuseEnded = Effect.filterOrFail(
      Ref.get(sealed),
      (ended) => !ended,
      () => stepHasEnded
    )
    const step = MemoryStep.of({
      claimed: Effect.flatMap(Ref.get(database.state), (state) => Ref.set(before, Option.some(state))),
      savepoint: (part) => alone(Effect.zipRight(refuseEnded, inSavepoint(part)))
    })
    const stateBefore = Ref.get(before)
    return {
      step,
      seal: mutex.alone(Ref.set(sealed, true)),
      undo: Effect.flatMap(
        stateBefore,
        Option.match({ onNone: () => Effect.void, onSome: (state) => Ref.set(database.state, state) })
      ),
      release: Effect.flatMap(stateBefore, (state) =>
        Option.isSome(state) ? Ref.set(database.lock, Option.none()) : Effect.void
      )
    }
  })

const stepHasEnded = DatabaseError.because("writing", "the step that this write belongs to is over")
