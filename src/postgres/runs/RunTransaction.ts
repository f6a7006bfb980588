/**
 * A transaction of a run, in the order in which it happens: BEGIN, the settings and the opening statements in one message; the work; the closing
 * statements and COMMIT in another. Everything that is set is set for the transaction: nothing of a run lives in a session.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as BoundedWait from "../../operation/BoundedWait.js"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import { DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import { lease } from "../../operation/Run.js"
import type { Restore } from "../../operation/Transactor.js"
import { AbandonedStatements, cancelling, decorate, toItsEnd } from "../client/DecoratedConnection.js"
import * as DriverAccess from "../client/DriverAccess.js"
import { databaseError, isConnectionLost, sqlError, sqlState } from "../client/PgError.js"
import type { PgSql } from "../client/PgSql.js"
import { alone, over } from "../client/DecoratedConnection.js"
import * as TableLock from "../client/TableLock.js"
import * as StepStatements from "../transaction/StepStatements.js"

/** How long an abandoned statement, or the end of an interrupted transaction, may take; then the connection is closed, and the server rolls back. */
const patience = "1 second"

/** The work of a transaction is through: its value, and the statements that are sent with the COMMIT. */
export interface Closing<out A> {
  readonly value: A
  readonly statements: ReadonlyArray<string>
}

/** One transaction of a run. */
export interface RunTransaction<A, E, R> {
  /** What is done, for errors: "beginning a run". */
  readonly action: string
  /** What the session is called meanwhile. */
  readonly name: string
  /** The statements behind BEGIN and the settings. */
  readonly opening: ReadonlyArray<string>
  /** The work, given the rows of the last of these. */
  readonly work: (rows: ReadonlyArray<unknown>) => Effect.Effect<Closing<A>, E, R>
}

/** Where transactions of runs go, and how long they wait. */
export interface RunDatabase {
  readonly sql: PgSql["Type"]
  readonly config: OperationConfig["Type"]
  readonly host: string
  /** The tables of ours that may be locked. */
  readonly tables: ReadonlyArray<string>
  /** Tells of a wait for a table of ours, and fails when it takes too long. */
  readonly waits: Effect.Effect<never, SqlError>
}

/**
 * Runs one on a connection that it has for itself. It is interrupted at once where a statement can be abandoned, and rolled back. `given` makes it so
 * where the caller is not to be interrupted: then it learns what was kept, also when it was interrupted meanwhile.
 */
export const run = <A, E, R>(
  database: RunDatabase,
  transaction: RunTransaction<A, E, R>,
  given?: Restore
): Effect.Effect<A, E | DatabaseError, R> =>
  Effect.uninterruptibleMask((own) =>
    Effect.flatMap(database.sql.lend, ({ connection, giveBack }) =>
      Effect.gen(function* () {
        const restore = given ?? own
        const failed = databaseError(transaction.action)
        const lent = yield* Effect.mapError(restore(connection), failed)
        const abandoned = new AbandonedStatements()
        const wire = inOrder(lent, abandoned)
        const begin = Effect.mapError(
          Effect.catchAll(
            database.sql.watches.closing(
              DriverAccess.disconnect(lent),
              database.waits,
              send(wire, openingOf(database, transaction))
            ),
            (error) => waitedInVain(database, error)
          ),
          failed
        )
        const worked = yield* Effect.exit(restore(Effect.flatMap(begin, (rows) => over(wire)(transaction.work(rows)))))
        if (Exit.isSuccess(worked)) return yield* commit(lent, transaction.action, worked.value)
        yield* rollback(lent, abandoned)
        return yield* Effect.failCause(worked.cause)
      }).pipe(Effect.ensuring(giveBack))
    )
  )

/** Each statement can be abandoned; what follows on one that was, such as the end of its savepoint, would be hit by its cancellation, and waits. */
const inOrder = (own: Connection, abandoned: AbandonedStatements): Connection =>
  decorate(cancelling(own, abandoned.note), (run) =>
    abandoned.fibers.size === 0
      ? run
      : Effect.flatMap(abandoned.settled(patience), (isSettled) =>
          isSettled ? run : Effect.zipRight(DriverAccess.disconnect(own), run)
        )
  )

const openingOf = (
  { config, host }: RunDatabase,
  { name, opening }: Pick<RunTransaction<unknown, unknown, unknown>, "name" | "opening">
): string => {
  const settings = {
    ...StepStatements.settingsOf({ ...config, seedTimeout: Option.none() }, host, name),
    lock_timeout: `${lockPatience(config)}`,
    // An owner that is stopped in the middle keeps the run from being taken over for no longer than its lease.
    idle_in_transaction_session_timeout: `${lease.seconds * 1000}`
  }
  return [
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    StepStatements.setForTransaction(settings),
    ...opening
  ].join("; ")
}

/** The server's timeouts are 32-bit milliseconds, of which 0 is none. */
const lockPatience = ({ lockTimeout }: OperationConfig["Type"]): number =>
  Math.min(2_147_483_647, Math.max(500, Math.ceil(Duration.toMillis(lockTimeout))))

/** The server may notice before the watch does that the time is over: whoever is in the way is named as well. */
const waitedInVain = ({ config, sql, tables }: RunDatabase, error: SqlError): Effect.Effect<never, SqlError> =>
  Option.contains(sqlState(error), TableLock.notAvailable)
    ? Effect.flatMap(Effect.option(alone(sql)(TableLock.find(sql, tables, "write"))), (found) =>
        Effect.fail(
          Option.match(Option.flatten(found), {
            onNone: () => error,
            onSome: ({ holder, table }) =>
              sqlError(new LockTimeout({ id: null, holder, waitedMs: lockPatience(config), table }))
          })
        )
      )
    : Effect.fail(error)

/** Sends statements in one message; the rows of the last. */
const send = (wire: Connection, text: string): Effect.Effect<ReadonlyArray<unknown>, SqlError> =>
  Effect.map(wire.executeRaw(text, []), (answer) => {
    const last: unknown = Array.isArray(answer) ? answer.at(-1) : answer
    return Predicate.hasProperty(last, "rows") && Array.isArray(last.rows) ? last.rows : []
  })

/** Whether the server kept it is told by what it answers to COMMIT: a transaction that was aborted is rolled back without an error. */
const commit = <A>(
  own: Connection,
  action: string,
  { statements, value }: Closing<A>
): Effect.Effect<A, DatabaseError> =>
  Effect.gen(function* () {
    const exit = yield* toItsEnd(own.executeRaw([...statements, "COMMIT"].join("; "), []), patience)
    if (Exit.isSuccess(exit)) {
      const last: unknown = Array.isArray(exit.value) ? exit.value.at(-1) : exit.value
      if (Predicate.hasProperty(last, "command") && last.command === "COMMIT") return value
      yield* rollback(own)
      return yield* DatabaseError.because(
        action,
        "the server rolled the transaction back, as a statement of it failed and was caught"
      )
    }
    const failure = Cause.failureOption(exit.cause)
    if (Option.isNone(failure)) {
      // Nobody knows whether it is kept: the cursor tells, when the run goes on.
      yield* DriverAccess.disconnect(own)
      return yield* Effect.failCause(Cause.map(exit.cause, databaseError(action)))
    }
    yield* isConnectionLost(failure.value) ? DriverAccess.disconnect(own) : rollback(own)
    return yield* databaseError(action)(failure.value)
  })

/** Undoes it in time, or leaves that to the server: a cancellation that is still under way may hit the next statement, which may be another's. */
const rollback = (own: Connection, abandoned = new AbandonedStatements()): Effect.Effect<void> =>
  Effect.flatMap(abandoned.settled(patience), (isSettled) =>
    isSettled
      ? BoundedWait.within(own.executeRaw("ROLLBACK", []), patience).pipe(
          Effect.catchAll(() => DriverAccess.disconnect(own)),
          Effect.asVoid
        )
      : DriverAccess.disconnect(own)
  )
