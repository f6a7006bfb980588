/**
 * `Transactor` on PostgreSQL: BEGIN, the step, COMMIT whose command tag is read; after a failure, back to the savepoint and the trace.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { DatabaseError, outsideStep } from "../../operation/OperationError.js"
import { Replica } from "../../operation/Replica.js"
import type { StepError, StepOptions } from "../../operation/Transactor.js"
import { Transactor, untraced } from "../../operation/Transactor.js"
import * as DeferredConstraints from "./DeferredConstraints.js"
import { databaseError } from "../client/PgError.js"
import type * as StatementBatch from "./StatementBatch.js"
import type * as BodyConnection from "./BodyConnection.js"
import { inTime, leaving } from "../client/Cancellation.js"
import * as ReadOnlyQuery from "./ReadOnlyQuery.js"
import * as PgSession from "./PgSession.js"
import type { Loan } from "../client/PgSql.js"
import { PgSql, rows } from "../client/PgSql.js"
import * as PgStep from "./PgStep.js"
import * as Rollback from "./Rollback.js"

/** Transactions on the connections of the application's client. */
export const make: Effect.Effect<Transactor["Type"], never, PgSql | OperationConfig | Replica> = Effect.gen(
  function* () {
    const sql = yield* PgSql
    const config = yield* OperationConfig
    const replica = yield* Replica
    const timeouts = timeoutsOf(config)
    const settings = (name: string) => ({ application_name: applicationName(`${replica.host} ${name}`), ...timeouts })
    /** Sets those timeouts that the server knows, once it has said which: SET LOCAL of them takes 0.1 ms less than asking it each time. */
    let set: string | undefined
    const begin = (name: string) =>
      set === undefined
        ? `${beginning}; ${setKnown(settings(name))}`
        : `${beginning}; SET LOCAL application_name = '${applicationName(`${replica.host} ${name}`)}'${set}`
    const begun = (answered: StatementBatch.Results) => {
      const known = new Set(answered[1]?.rows.flatMap((row) => (isNamed(row) ? [row.name] : [])))
      if (known.size > 0) set ??= setLocal(timeouts, known)
    }
    /** undefined_object: after a failover the server may be an older one. */
    const mayBeOlder = (exit: Exit.Exit<unknown, unknown>) =>
      Effect.sync(() => {
        const failure = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
        if (Option.exists(failure, (error) => error instanceof DatabaseError && Option.contains(error.code, "42704")))
          set = undefined
      })

    /** Made once, as every generator of a step is: made in each, it gets a hidden class in old space, which keeps all that it closes over. */
    const runBy = Effect.fnUntraced(function* <A, E, R>(
      restore: BodyConnection.Around,
      body: Effect.Effect<A, E, R>,
      options: StepOptions<A, E | StepError>
    ) {
      const loan = yield* sql.lend
      const { exit, later } = yield* Effect.flatMap(restore(connectionOf(loan)), (connection) =>
        runOn(connection, body, options, restore, begin(options.name), begun)
      ).pipe(Effect.ensuring(loan.giveBack))
      yield* later
      yield* mayBeOlder(exit)
      return yield* exit
    })
    const run = <A, E, R>(
      body: Effect.Effect<A, E, R>,
      options: StepOptions<A, E | StepError>
    ): Effect.Effect<A, E | StepError, R> => Effect.uninterruptibleMask((restore) => runBy(restore, body, options))

    const session = <A, E, R>(step: Effect.Effect<A, E, R>, name: string): Effect.Effect<A, E | DatabaseError, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(sql.lend, (loan) =>
          Effect.gen(function* () {
            const raw = leaving(yield* restore(connectionOf(loan)))
            const begun = yield* Effect.mapError(
              PgSession.make(raw, settings(name)),
              databaseError("beginning a session")
            )
            const done = yield* Effect.exit(restore(begun.provide(step)))
            // A session whose end is not known is closed: it may hold the lock.
            if (!(yield* begun.end)) yield* Rollback.disconnect(raw)
            return yield* done
          }).pipe(Effect.ensuring(loan.giveBack))
        )
      )

    /** Inside a transaction that a seed began in its session it is a savepoint. */
    const alone = <A, E, R>(part: Effect.Effect<A, E, R>): Effect.Effect<A, E | DatabaseError, R> =>
      Effect.flatMap(
        Effect.all([Effect.serviceOption(PgSession.PgSession), Effect.serviceOption(SqlClient.TransactionConnection)]),
        ([inSession, transaction]) =>
          Option.isSome(inSession) && Option.isSome(transaction)
            ? Effect.mapError(
                sql.withTransaction(Effect.mapError(part, (error) => ({ _tag: "Part" as const, error }))),
                (failed) => (failed._tag === "Part" ? failed.error : databaseError("writing")(failed))
              )
            : onItsOwn(run, part)
      )

    return Transactor.of({
      run,
      session,
      turn: (part) =>
        Effect.flatMap(
          Effect.serviceOption(PgStep.PgStep),
          Option.match({
            onNone: () => alone(part),
            onSome: (step) => step.turn(part)
          })
        ),
      checkDeferred: Effect.flatMap(
        Effect.serviceOption(PgStep.PgStep),
        Option.match({ onNone: () => outsideStep("checking constraints"), onSome: DeferredConstraints.check })
      ),
      transactionId: sql`SELECT pg_current_xact_id()::text AS id`.pipe(
        rows("reading the transaction's id", TransactionRow),
        Effect.map(([found]) => Option.map(Option.fromNullable(found), ({ id }) => id))
      ),
      query: (text, params) => ReadOnlyQuery.run(sql, text, params)
    })
  }
)

const TransactionRow = Schema.Struct({ id: Schema.String })

const connectionOf = ({ connection }: Loan): Effect.Effect<Connection, DatabaseError> =>
  Effect.mapError(connection, databaseError("connecting"))

/** A step in a transaction on this connection, interruptible by `restore`; `begun` is told what the server answered to `begin`. */
const runOn = Effect.fnUntraced(function* <A, E, R>(
  connection: Connection,
  body: Effect.Effect<A, E, R>,
  options: StepOptions<A, E | StepError>,
  restore: BodyConnection.Around,
  begin: string,
  begun: (answered: StatementBatch.Results) => void
) {
  const step = PgStep.make(connection, begin, begun)
  const done: Exit.Exit<A, E | StepError> = yield* Effect.exit(
    restore(Effect.zipLeft(step.provide(options.parent)(body), step.seal))
  )
  const ended =
    Exit.isFailure(done) || step.isUnsent()
      ? done
      : yield* Effect.map(patiently(restore, step.commit), Exit.as(done.value))
  if (Exit.isSuccess(ended)) options.committed?.(ended.value)
  yield* step.end
  return Exit.isSuccess(ended)
    ? { exit: ended, later: Effect.void }
    : yield* Rollback.undo(leaving(connection), step, ended.cause, options)
})

/**
 * How a COMMIT ends: whoever is interrupted meanwhile waits for it, as what it did is worth knowing, but not for ever, as what goes before it in
 * the same message may wait for another session.
 */
const patiently = <E>(
  restore: BodyConnection.Around,
  commit: Effect.Effect<void, E>
): Effect.Effect<Exit.Exit<void, E>> =>
  Effect.flatMap(Effect.runtime(), (runtime) => {
    const fiber = Runtime.runFork(runtime)(Effect.interruptible(commit), { immediate: true })
    const ended = Effect.async<Exit.Exit<void, E>>((resume) =>
      fiber.addObserver((exit) => resume(Effect.succeed(exit)))
    )
    return Effect.matchCauseEffect(restore(ended), {
      onSuccess: Effect.succeed,
      onFailure: (cause) =>
        Effect.flatMap(Effect.option(inTime(ended, commitPatience)), (late) =>
          Option.isSome(late)
            ? Effect.succeed(Exit.mapErrorCause(late.value, (failure) => Cause.sequential(failure, cause)))
            : Effect.as(Fiber.interruptFork(fiber), Exit.failCause(cause))
        )
    })
  })

/** With the second that undoing may take, it is less than a command gives its work to end after a signal. */
const commitPatience = "500 millis"

/** The server's timeouts are 32-bit milliseconds; a longer one is none. */
const longestTimeout = 2_147_483_647

/** The timeouts of the role and the database are not ours: only `seedTimeout` bounds a step. */
const timeoutsOf = (config: OperationConfig["Type"]): Readonly<Record<string, string>> => {
  const timeout = Option.match(config.seedTimeout, { onNone: () => 0, onSome: Duration.toMillis })
  return {
    statement_timeout: `${timeout > longestTimeout ? 0 : Math.ceil(timeout)}`,
    lock_timeout: "0",
    idle_session_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    transaction_timeout: "0",
    // The server notices within this many ms that a client was killed in the middle of a statement, and frees the lock.
    client_connection_check_interval: "500"
  }
}

const beginning = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

/** Sets what the server knows of these, and answers with their names. */
const setKnown = (settings: Readonly<Record<string, string>>): string => {
  const values = Object.entries(settings).map(([name, value]) => `('${name}', '${value}')`)
  return `SELECT s.name, set_config(s.name, s.value, true) FROM (VALUES ${values.join(", ")}) AS s (name, value) WHERE current_setting(s.name, true) IS NOT NULL AND (s.name <> 'client_connection_check_interval' OR ${PgSession.noticesClosedConnections})`
}

const setLocal = (settings: Readonly<Record<string, string>>, known: ReadonlySet<string>): string =>
  Object.entries(settings)
    .map(([name, value]) => (known.has(name) ? `; SET LOCAL ${name} = '${value}'` : ""))
    .join("")

const isNamed = (row: unknown): row is { readonly name: string } =>
  Predicate.hasProperty(row, "name") && Predicate.isString(row.name)

/** Text that needs no quoting in a literal; PostgreSQL keeps 63 characters of printable ASCII. */
const applicationName = (name: string): string => `es-ops ${name}`.slice(0, 63).replaceAll(/[^\x20-\x7E]|['\\]/g, "?")

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
