/**
 * `Transactor` on PostgreSQL: BEGIN, the step, COMMIT whose command tag is read; after a failure, back to the savepoint and the trace.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { describe } from "../operation/Attempt.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import { CommitLost, CommitRefused, DatabaseError } from "../operation/OperationError.js"
import { Replica } from "../operation/Replica.js"
import type { StepError, StepOptions } from "../operation/Transactor.js"
import { Transactor, untraced } from "../operation/Transactor.js"
import { databaseError, isConnectionLost, reasonOf, sqlState } from "./PgError.js"
import * as PgQuery from "./PgQuery.js"
import { PgSql, rows } from "./PgSql.js"
import type { Step } from "./PgStep.js"
import * as PgStep from "./PgStep.js"

/** How long a step that was interrupted may take to be undone and recorded; then its connection is closed, and the server rolls back. */
const undoTimeout = "1 second"

/** How long the record of an attempt may take on another connection when the step's own is gone. */
const traceTimeout = "2 seconds"

/** Transactions on the connections of the application's client. */
export const layer: Layer.Layer<Transactor, never, PgSql | OperationConfig | Replica> = Layer.effect(
  Transactor,
  Effect.gen(function* () {
    const sql = yield* PgSql
    const config = yield* OperationConfig
    const replica = yield* Replica
    const connect = Effect.mapError(sql.reserve, databaseError("connecting"))

    const run = <A, E, R>(
      body: Effect.Effect<A, E, R>,
      options: StepOptions<E | StepError>
    ): Effect.Effect<A, E | StepError, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const { exit, later }: Ended<A, E | StepError> = yield* Effect.gen(function* () {
            const raw = yield* restore(Scope.extend(connect, scope))
            const step = PgStep.make(raw)
            const begin = raw.executeRaw(beginText(config, `${replica.host} ${options.name}`), [])
            const steps = begin.pipe(
              Effect.mapError(databaseError("beginning a transaction")),
              Effect.zipRight(step.provide(body)),
              Effect.zipLeft(Effect.suspend(() => (step.isOpen() && !step.isSealed() ? step.seal : Effect.void)))
            )
            const done: Exit.Exit<A, E | StepError> = yield* Effect.exit(restore(steps))
            const ended = Exit.isSuccess(done) ? yield* commit(raw, done.value) : done
            yield* step.end
            return Exit.isSuccess(ended)
              ? { exit: ended, later: Effect.void }
              : yield* undoInTime(raw, step, ended.cause, options)
          }).pipe(Effect.ensuring(Scope.close(scope, Exit.void)))
          yield* later
          return yield* exit
        })
      )

    return Transactor.of({
      run,
      turn: (part) =>
        Effect.flatMap(
          Effect.serviceOption(PgStep.PgStep),
          Option.match({
            onNone: () => onItsOwn(run, part),
            onSome: (step) => step.turn(part)
          })
        ),
      transactionId: sql`SELECT pg_current_xact_id()::text AS id`.pipe(
        rows("reading the transaction's id", Schema.Struct({ id: Schema.String })),
        Effect.map(([found]) => Option.map(Option.fromNullable(found), ({ id }) => id))
      ),
      query: (text, params) => PgQuery.run(sql, text, params)
    })
  })
)

/** The server's timeouts are 32-bit milliseconds; a longer one is none. */
const longestTimeout = 2_147_483_647

/** The timeouts of the role and the database are not ours: only `seedTimeout` bounds a step. Set where the server knows the setting. */
const beginText = (config: OperationConfig["Type"], name: string): string => {
  const timeout = Option.match(config.seedTimeout, { onNone: () => 0, onSome: Duration.toMillis })
  const milliseconds = timeout > longestTimeout ? 0 : Math.ceil(timeout)
  const settings = {
    application_name: `es-ops ${name}`.slice(0, 63),
    statement_timeout: `${milliseconds}`,
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    transaction_timeout: "0",
    // The server notices within this many ms that a client was killed in the middle of a statement, and frees the lock.
    client_connection_check_interval: "500"
  }
  const values = Object.entries(settings).map(([setting, value]) => `('${setting}', '${plain(value)}')`)
  return `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT set_config(s.name, s.value, true) FROM (VALUES ${values.join(", ")}) AS s (name, value) WHERE current_setting(s.name, true) IS NOT NULL`
}

/** Text that needs no quoting in a literal; PostgreSQL keeps printable ASCII of an `application_name` only. */
const plain = (text: string): string => text.replaceAll(/[^\x20-\x7E]|['\\]/g, "?")

const commit = <A>(raw: Connection, value: A): Effect.Effect<Exit.Exit<A, CommitLost | CommitRefused>> =>
  raw.executeRaw("COMMIT", []).pipe(
    Effect.match({
      onSuccess: (result) =>
        Predicate.hasProperty(result, "command") && result.command === "COMMIT"
          ? Exit.succeed(value)
          : Exit.fail(new CommitRefused({ code: Option.none(), reason: "it rolled the transaction back" })),
      onFailure: (error) =>
        Exit.fail(
          isConnectionLost(error)
            ? new CommitLost({ reason: reasonOf(error), cause: error })
            : new CommitRefused({ code: sqlState(error), reason: reasonOf(error) })
        )
    })
  )

/** What is left to do when the connection is given back. */
interface Ended<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly later: Effect.Effect<void>
}

/** Undoes a step that failed, leaves its trace, ends the transaction; the step's own failure is the answer. */
const undo = <E>(
  raw: Connection,
  step: Step,
  cause: Cause.Cause<E | StepError>,
  options: StepOptions<E | StepError>
): Effect.Effect<Ended<never, E | StepError>> =>
  Effect.gen(function* () {
    const failure = reasonFor(step, cause)
    const exit = Exit.failCause(failure)
    if (isCommitLost(failure)) return { exit, later: Effect.void }
    const trace = options.trace(failure)
    const back = yield* Effect.either(step.isOpen() ? step.undo : raw.executeRaw("ROLLBACK", []))
    if (Either.isLeft(back) && isConnectionLost(back.left)) {
      return {
        exit: lostDuring(failure),
        later: Option.match(trace, { onNone: () => Effect.void, onSome: traceLater })
      }
    }
    // The savepoint is gone when the body ended the transaction, or the server did at COMMIT: the trace stands alone then.
    const within = step.isOpen() && Either.isRight(back)
    if (!within) yield* Effect.ignore(raw.executeRaw("ROLLBACK", []))
    yield* Option.match(trace, {
      onNone: () => Effect.void,
      onSome: (write) => Effect.catchAll(step.provideRaw(write), logUntraced)
    })
    if (within) yield* Effect.catchAll(raw.executeRaw(Option.isSome(trace) ? "COMMIT" : "ROLLBACK", []), logUntraced)
    return { exit, later: Effect.void }
  })

/** A step that was interrupted is undone in time, or its connection is closed: a statement may be running that nobody can wait for. */
const undoInTime = <E>(
  raw: Connection,
  step: Step,
  cause: Cause.Cause<E | StepError>,
  options: StepOptions<E | StepError>
): Effect.Effect<Ended<never, E | StepError>> =>
  Cause.isInterruptedOnly(cause)
    ? undo(raw, step, cause, options).pipe(
        Effect.interruptible,
        Effect.disconnect,
        Effect.interruptible,
        Effect.timeoutTo({
          duration: undoTimeout,
          onSuccess: (ended) => Effect.succeed(ended),
          onTimeout: () =>
            Effect.as(disconnect(raw), {
              exit: Exit.failCause(cause),
              later: Option.match(options.trace(cause), { onNone: () => Effect.void, onSome: traceLater })
            })
        }),
        Effect.flatten
      )
    : undo(raw, step, cause, options)

/** Closes the driver's socket, so that the pool drops the connection and the server ends its transaction. */
const disconnect = (connection: Connection): Effect.Effect<void> =>
  Effect.sync(() => {
    const socket = ["pg", "connection", "stream"].reduce<unknown>(
      (from, key) => (Predicate.hasProperty(from, key) ? from[key] : undefined),
      connection
    )
    if (Predicate.hasProperty(socket, "destroy") && Predicate.isFunction(socket.destroy)) {
      Reflect.apply(socket.destroy, socket, [])
    }
  })

/** A body that tried to end the transaction fails for that reason, whatever it made of the refusal. */
const reasonFor = <E>(step: Step, cause: Cause.Cause<E | StepError>): Cause.Cause<E | StepError> =>
  Cause.isInterruptedOnly(cause) ? cause : Option.match(step.meddling(), { onNone: () => cause, onSome: Cause.fail })

const isCommitLost = <E>(cause: Cause.Cause<E>): boolean =>
  Option.exists(Cause.failureOption(cause), (error) => error instanceof CommitLost)

const lostDuring = <E>(cause: Cause.Cause<E | StepError>): Exit.Exit<never, E | StepError> => {
  if (Cause.isInterruptedOnly(cause)) return Exit.failCause(cause)
  const reason = Cause.squash(cause)
  return Exit.fail(
    reason instanceof DatabaseError && reason.connectionLost
      ? reason
      : new DatabaseError({
          action: "running a step",
          id: Option.none(),
          code: Option.fromNullable(describe(reason).code),
          reason: describe(reason).message,
          connectionLost: true,
          cause: reason
        })
  )
}

const traceLater = (write: Effect.Effect<void, DatabaseError>): Effect.Effect<void> =>
  write.pipe(Effect.interruptible, Effect.timeout(traceTimeout), Effect.catchAll(logUntraced))

const logUntraced = (error: { readonly message: string }): Effect.Effect<void> =>
  Effect.logWarning(`The attempt was not recorded: ${error.message}`)

/** A write outside any step is a transaction of its own. */
const onItsOwn = <A, E, R>(
  run: Transactor["Type"]["run"],
  part: Effect.Effect<A, E, R>
): Effect.Effect<A, E | DatabaseError, R> =>
  run(
    Effect.mapError(part, (error) => ({ _tag: "Part" as const, error })),
    untraced("write")
  ).pipe(
    Effect.mapError((error) =>
      error._tag === "Part"
        ? error.error
        : error._tag === "DatabaseError"
          ? error
          : new DatabaseError({
              action: "writing",
              id: Option.none(),
              code: "code" in error ? error.code : Option.none(),
              reason: error.message,
              connectionLost: error._tag === "CommitLost",
              cause: error
            })
    )
  )
