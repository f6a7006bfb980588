/**
 * One step of an operation as one transaction: all of it, or nothing but the record of the attempt.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as Tracer from "effect/Tracer"
import * as MemoryDatabase from "./memory/MemoryDatabase.js"
import * as Mutex from "./Mutex.js"
import type {
  AlreadyApplied,
  CommitLost,
  CommitRefused,
  SwallowedSqlError,
  TransactionControl
} from "./OperationError.js"
import { DatabaseError, outsideStep } from "./OperationError.js"

/** A query that is not one reading statement, or that the server found to write. Nothing of it remains. */
export class ReadOnlyViolation extends Schema.TaggedError<ReadOnlyViolation>()("ReadOnlyViolation", {
  code: Schema.OptionFromSelf(Schema.String),
  reason: Schema.String
}) {
  override get message(): string {
    return `query reads only: ${this.reason}`
  }
}

/** The server refused a query: a table that is not there, a type that does not fit. */
export class QueryFailed extends Schema.TaggedError<QueryFailed>()("QueryFailed", {
  code: Schema.OptionFromSelf(Schema.String),
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}

/** There is no SQL in memory. */
export class QueryUnavailable extends Schema.TaggedError<QueryUnavailable>()("QueryUnavailable", {}) {
  override get message(): string {
    return "query needs a database: the memory layers answer no SQL"
  }
}

/** How a transaction itself can fail: its body meddled with it, the server did not keep it, or its marker is there already. */
export type StepError =
  TransactionControl | SwallowedSqlError | CommitRefused | CommitLost | AlreadyApplied | DatabaseError

/** How a query can fail. */
export type QueryError = ReadOnlyViolation | QueryFailed | QueryUnavailable | DatabaseError

/** A row as the driver gives it, columns by their names. */
export type Row = { readonly [column: string]: unknown }

/** What goes with a step. */
export interface StepOptions<A, E> {
  /** What is run, for `application_name`. */
  readonly name: string
  /** The span of what is done inside it. Default: the current one. */
  readonly parent?: Tracer.AnySpan | undefined
  /** What remains of a step that failed; none where the failure leaves no trace, such as a lock held by another. */
  readonly trace: (cause: Cause.Cause<E>) => Option.Option<Effect.Effect<void, DatabaseError>>
  /** Told of a step that is committed, also where whoever waits for it is interrupted meanwhile. */
  readonly committed?: ((value: A) => void) | undefined
}

/** A step whose failure leaves no attempt. */
export const untraced = (name: string): StepOptions<unknown, unknown> => ({ name, trace: () => Option.none() })

/** The port of transactions. */
export class Transactor extends Context.Tag("effect-es-ops/Transactor")<
  Transactor,
  {
    /**
     * Runs `step` in one transaction and commits it. When it fails, everything since `OperationLock.claim` is undone, the trace is
     * written, and only its commit releases the lock. A failure of the transaction itself never replaces the step's own.
     */
    readonly run: <A, E, R>(
      step: Effect.Effect<A, E, R>,
      options: StepOptions<NoInfer<A>, NoInfer<E> | StepError>
    ) => Effect.Effect<A, E | StepError, R>
    /**
     * Runs `step` outside any transaction, on one connection that it has for itself: nothing of it is undone. What it asks of a `SqlClient`
     * goes over that connection.
     */
    readonly session: <A, E, R>(step: Effect.Effect<A, E, R>, name: string) => Effect.Effect<A, E | DatabaseError, R>
    /**
     * Runs `part` alone among the statements of its step, in a savepoint that is undone when it fails. Outside a step it is a transaction
     * of its own.
     */
    readonly turn: <A, E, R>(part: Effect.Effect<A, E, R>) => Effect.Effect<A, E | DatabaseError, R>
    /**
     * What the commit of the current step would check, deferred constraints, checked now and deferred again for what comes next. Inside `run`,
     * after `claim`.
     */
    readonly checkDeferred: Effect.Effect<void, CommitRefused | DatabaseError>
    /** The current step's transaction, as the server numbers it; none where there is no server. */
    readonly transactionId: Effect.Effect<Option.Option<string>, DatabaseError>
    /** One reading statement, in a savepoint that is always undone; it sees what its step has written. */
    readonly query: (text: string, params: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, QueryError>
  }
>() {}

/** The turn that the current fiber has: what belongs to it takes no other. */
export class Turn extends Context.Tag("effect-es-ops/Turn")<
  Turn,
  { readonly step: object; readonly over: boolean }
>() {}

/** The step that the current fiber is in, when the database is in memory. */
export class MemoryStep extends Context.Tag("effect-es-ops/MemoryStep")<
  MemoryStep,
  {
    /** Notes that this step holds the lock, and what the database was when it got it. */
    readonly claimed: Effect.Effect<void>
    /** Runs a part of the step alone, undone when it fails; refused once the step is over. */
    readonly turn: <A, E, R>(part: Effect.Effect<A, E, R>) => Effect.Effect<A, E | DatabaseError, R>
  }
>() {}

/** Transactions of a `MemoryDatabase`: what a failed step changed is put back, in every view. */
export const layerMemory: Layer.Layer<Transactor, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  Transactor,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase

    const undoable = <A, E, R>(part: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Ref.get(database.state), (before) =>
          Effect.onExit(restore(part), (exit) => (Exit.isFailure(exit) ? Ref.set(database.state, before) : Effect.void))
        )
      )

    return Transactor.of({
      run: (step, options) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const memory = yield* makeMemoryStep(database, undoable)
            const exit = yield* restore(step).pipe(
              options.parent === undefined ? identity : Effect.withParentSpan(options.parent),
              Effect.provideService(MemoryStep, memory.step),
              Effect.zipLeft(memory.seal),
              Effect.exit
            )
            if (Exit.isFailure(exit)) {
              yield* memory.seal
              yield* memory.undo
              yield* Option.match(options.trace(exit.cause), {
                onNone: () => Effect.void,
                onSome: (write) =>
                  Effect.catchAll(write, (error) => Effect.logWarning("The failed attempt was not recorded", error))
              })
            }
            if (Exit.isSuccess(exit)) options.committed?.(exit.value)
            yield* memory.release
            return yield* exit
          })
        ),
      session: (step) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const memory = yield* makeMemoryStep(database, undoable)
            return yield* restore(step).pipe(
              Effect.provideService(MemoryStep, memory.step),
              Effect.ensuring(Effect.zipRight(memory.seal, memory.release))
            )
          })
        ),
      turn: (part) =>
        Effect.flatMap(
          Effect.serviceOption(MemoryStep),
          Option.match({ onNone: () => undoable(part), onSome: (step) => step.turn(part) })
        ),
      checkDeferred: Effect.flatMap(Effect.serviceOption(MemoryStep), (step) =>
        Option.isNone(step) ? outsideStep("checking constraints") : Effect.void
      ),
      transactionId: Effect.succeedNone,
      query: () => new QueryUnavailable()
    })
  })
)

const makeMemoryStep = (
  database: MemoryDatabase.MemoryDatabase["Type"],
  undoable: <A, E, R>(part: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const before = yield* Ref.make(Option.none<Context.Context<never>>())
    const sealed = yield* Ref.make(false)
    const mutex = Mutex.make()
    const self = {}
    const alone = <A, E, R>(part: Effect.Effect<A, E, R>) =>
      Effect.flatMap(Effect.serviceOption(Turn), (turn) =>
        Option.exists(turn, ({ over, step }) => step === self && !over) ? part : mutex.alone(part)
      )
    const step = MemoryStep.of({
      claimed: Effect.flatMap(Ref.get(database.state), (state) => Ref.set(before, Option.some(state))),
      turn: (part) =>
        alone(
          Effect.suspend(() => {
            const turn = { step: self, over: false }
            const ended = Effect.sync(() => {
              turn.over = true
            })
            return Effect.zipRight(
              Effect.filterOrFail(
                Ref.get(sealed),
                (over) => !over,
                () => stepIsOver
              ),
              undoable(part).pipe(Effect.provideService(Turn, turn), Effect.ensuring(ended))
            )
          })
        )
    })
    const claimedState = Ref.get(before)
    return {
      step,
      seal: mutex.alone(Ref.set(sealed, true)),
      undo: Effect.flatMap(
        claimedState,
        Option.match({
          onNone: () => Effect.void,
          onSome: (state) => Ref.set(database.state, state)
        })
      ),
      release: Effect.flatMap(claimedState, (state) =>
        Option.isSome(state) ? Ref.set(database.lock, Option.none()) : Effect.void
      )
    }
  })

const stepIsOver = new DatabaseError({
  action: "writing",
  id: Option.none(),
  code: Option.none(),
  reason: "the step that this write belongs to is over",
  connectionLost: false,
  cause: undefined
})
