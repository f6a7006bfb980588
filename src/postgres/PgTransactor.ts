/**
 * `Transactor` on PostgreSQL: BEGIN, the step, COMMIT whose command tag is read; after a failure, back to the savepoint and the trace.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { OperationConfig } from "../operation/OperationConfig.js"
import { DatabaseError } from "../operation/OperationError.js"
import { Replica } from "../operation/Replica.js"
import type { StepError, StepOptions } from "../operation/Transactor.js"
import { Transactor, untraced } from "../operation/Transactor.js"
import { databaseError } from "./PgError.js"
import { inTime, leaving } from "./PgGate.js"
import type { Results } from "./PgBatch.js"
import * as PgQuery from "./PgQuery.js"
import * as PgSession from "./PgSession.js"
import { PgSql, rows } from "./PgSql.js"
import * as PgStep from "./PgStep.js"
import * as PgUndo from "./PgUndo.js"

/** Transactions on the connections of the application's client. */
export const layer: Layer.Layer<Transactor, never, PgSql | OperationConfig | Replica> = Layer.effect(
  Transactor,
  Effect.gen(function* () {
    const sql = yield* PgSql
    const config = yield* OperationConfig
    const replica = yield* Replica
    const connect = Effect.mapError(sql.reserve, databaseError("connecting"))
    const settings = (name: string) => settingsOf(config, `${replica.host} ${name}`)
    /** The settings that the server knows, once it has said so. */
    let known: ReadonlySet<string> | undefined
    const begin = (name: string) => beginText(settings(name), known)
    const begun = (answered: Results) => {
      known ??= new Set(answered[1]?.rows.flatMap((row) => (isNamed(row) ? [row.name] : [])))
    }

    const run = <A, E, R>(
      body: Effect.Effect<A, E, R>,
      options: StepOptions<E | StepError>
    ): Effect.Effect<A, E | StepError, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const { exit, later }: PgUndo.Ended<A, E | StepError> = yield* Effect.gen(function* () {
            const raw = leaving(yield* restore(Scope.extend(connect, scope)))
            const step = PgStep.make(raw, begin(options.name), begun)
            const done: Exit.Exit<A, E | StepError> = yield* Effect.exit(
              restore(Effect.zipLeft(step.provide(body), step.seal))
            )
            const ended =
              Exit.isFailure(done) || step.isUnsent()
                ? done
                : yield* Effect.map(patiently(restore, step.commit), Exit.as(done.value))
            yield* step.end
            return Exit.isSuccess(ended)
              ? { exit: ended, later: Effect.void }
              : yield* PgUndo.undo(raw, step, ended.cause, options)
          }).pipe(Effect.ensuring(Scope.close(scope, Exit.void)))
          yield* later
          return yield* exit
        })
      )

    const session = <A, E, R>(step: Effect.Effect<A, E, R>, name: string): Effect.Effect<A, E | DatabaseError, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const exit = yield* Effect.gen(function* () {
            const raw = leaving(yield* restore(Scope.extend(connect, scope)))
            const begun = yield* Effect.mapError(
              PgSession.make(raw, settings(name)),
              databaseError("beginning a session")
            )
            const done = yield* Effect.exit(restore(begun.provide(step)))
            // A session whose end is not known is closed: it may hold the lock.
            if (!(yield* begun.end)) yield* PgUndo.disconnect(raw)
            return done
          }).pipe(Effect.ensuring(Scope.close(scope, Exit.void)))
          return yield* exit
        })
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
      transactionId: sql`SELECT pg_current_xact_id()::text AS id`.pipe(
        rows("reading the transaction's id", Schema.Struct({ id: Schema.String })),
        Effect.map(([found]) => Option.map(Option.fromNullable(found), ({ id }) => id))
      ),
      query: (text, params) => PgQuery.run(sql, text, params)
    })
  })
)

/**
 * How a COMMIT ends: whoever is interrupted meanwhile waits for it, as what it did is worth knowing, but not for ever, as what goes before it in
 * the same message may wait for another session.
 */
const patiently = <E>(
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  commit: Effect.Effect<void, E>
): Effect.Effect<Exit.Exit<void, E>> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(commit))
    const ended = yield* Effect.exit(restore(Fiber.await(fiber)))
    if (Exit.isSuccess(ended)) return ended.value
    const late = yield* Effect.option(inTime(Fiber.await(fiber), commitPatience))
    if (Option.isSome(late)) {
      return Exit.mapErrorCause(late.value, (cause) => Cause.sequential(cause, ended.cause))
    }
    yield* Fiber.interruptFork(fiber)
    return Exit.failCause(ended.cause)
  })

/** With the second that undoing may take, it is less than a command gives its work to end after a signal. */
const commitPatience = "500 millis"

/** The server's timeouts are 32-bit milliseconds; a longer one is none. */
const longestTimeout = 2_147_483_647

/** The timeouts of the role and the database are not ours: only `seedTimeout` bounds a step. */
const settingsOf = (config: OperationConfig["Type"], name: string): Readonly<Record<string, string>> => {
  const timeout = Option.match(config.seedTimeout, { onNone: () => 0, onSome: Duration.toMillis })
  return {
    application_name: plain(`es-ops ${name}`.slice(0, 63)),
    statement_timeout: `${timeout > longestTimeout ? 0 : Math.ceil(timeout)}`,
    lock_timeout: "0",
    idle_session_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    transaction_timeout: "0",
    // The server notices within this many ms that a client was killed in the middle of a statement, and frees the lock.
    client_connection_check_interval: "500"
  }
}

/** Settings are set where the server knows them, which it is asked once: SET LOCAL of those is 0.1 ms less than asking it each time. */
const beginText = (settings: Readonly<Record<string, string>>, known: ReadonlySet<string> | undefined): string => {
  const all = Object.entries(settings)
  const values = all.map(([name, value]) => `('${name}', '${value}')`)
  const set =
    known === undefined
      ? `SELECT s.name, set_config(s.name, s.value, true) FROM (VALUES ${values.join(", ")}) AS s (name, value) WHERE current_setting(s.name, true) IS NOT NULL AND (s.name <> 'client_connection_check_interval' OR ${PgSession.noticesClosedConnections})`
      : all.flatMap(([name, value]) => (known.has(name) ? [`SET LOCAL ${name} = '${value}'`] : [])).join("; ")
  return `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ${set}`
}

const isNamed = (row: unknown): row is { readonly name: string } =>
  Predicate.hasProperty(row, "name") && Predicate.isString(row.name)

/** Text that needs no quoting in a literal; PostgreSQL keeps printable ASCII of an `application_name` only. */
const plain = (text: string): string => text.replaceAll(/[^\x20-\x7E]|['\\]/g, "?")

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
