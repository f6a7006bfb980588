/**
 * A session of its own for a body outside any transaction: settings for as long as it lasts, statements one at a time, and an end after which
 * the connection is what it was before.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as BoundedWait from "../../operation/BoundedWait.js"
import * as Mutex from "../../operation/Mutex.js"
import type { EncodingChanged } from "../../operation/OperationError.js"
import { LockControl } from "../../operation/OperationError.js"
import * as ClientEncoding from "../client/ClientEncoding.js"
import { AbandonedStatements, cancelling, decorate, withWholeStreams } from "../client/DecoratedConnection.js"
import * as DriverAccess from "../client/DriverAccess.js"
import { freesLock } from "../client/LockControl.js"
import { sqlError } from "../client/PgError.js"
import { PgSession } from "../client/PgSession.js"
import { mayEncode } from "../client/SqlText.js"
import * as Savepoints from "./SessionSavepoints.js"
import type { Settings } from "./StepStatements.js"
import * as StepStatements from "./StepStatements.js"

/** A session over one connection. */
export interface OwnSession {
  /** Gives the body the session, and a `SqlClient` over its connection; a transaction around it is not its own. */
  readonly provide: <A, E, R>(body: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Frees the lock and puts back what was set, as far as that is known and can be done in time; the connection is to be closed then. */
  readonly end: Effect.Effect<void>
}

/** How long the end of a session may take; then its connection is closed. */
const endPatience = "1 second"

/** How long a statement waits for the cancellation of one before it. */
const cancellationPatience = "250 millis"

const sessionIsOver = sqlError(new Error("the session that this statement belongs to is over"))

/** Begins a session on this connection with these settings. */
export const make = (
  wire: Connection,
  names: ReadonlyArray<string>,
  settings: Settings
): Effect.Effect<OwnSession, SqlError> =>
  Effect.gen(function* () {
    const abandoned = new AbandonedStatements()
    const cancellable = cancelling(wire, abandoned.note)
    // A statement that is being cancelled takes the next one with it.
    const connection = decorate(cancellable, (run) =>
      abandoned.fibers.size === 0 ? run : Effect.zipRight(abandoned.settled(cancellationPatience), run)
    )
    const before = yield* identityOf(connection)
    yield* connection.executeRaw(StepStatements.setForSession(settings), [])
    const settled = [
      StepStatements.resetIdentity(before),
      StepStatements.discard,
      StepStatements.setForSession(settings)
    ]
      .flat()
      .join("; ")
    const mutex = Mutex.make()
    let lock: bigint | undefined
    const tables = new Map<string, string>()
    let over = false
    /** Why we closed the connection ourselves. */
    let closedFor: SqlError | undefined
    /** What the body sent first that would free the lock, or made of the encoding behind our back. */
    let violation: LockControl | EncodingChanged | undefined

    /** A fiber that the body left running must not write on a connection that is another's by then; and the lock is not the body's to free. */
    const guarded = decorate(connection, (run, text, params) =>
      Effect.suspend(() => {
        if (over) return Effect.fail(sessionIsOver)
        if (closedFor !== undefined) return Effect.fail(closedFor)
        const statement = lock === undefined ? Option.none() : freesLock(text)
        if (Option.isNone(statement))
          return mayEncode(text, params) ? Effect.zipLeft(run, ClientEncoding.keep(connection)) : run
        violation ??= new LockControl({ statement: statement.value })
        return Effect.fail(sqlError(violation))
      })
    )
    const parts = Savepoints.make(connection, guarded)
    const inTurn = withWholeStreams(decorate(guarded, (run) => mutex.alone(run)))
    const reserved = (own: Connection): Effect.Effect<Connection, SqlError, Scope.Scope> =>
      Effect.suspend(() => (over ? Effect.fail(sessionIsOver) : Effect.as(Effect.interruptible(mutex.scoped), own)))
    // Outside a transaction ROLLBACK is a warning. A timeout that the body has set may be shorter than anything takes.
    const settle = Effect.retry(connection.executeRaw("ROLLBACK; SET statement_timeout = 0", []), { times: 2 }).pipe(
      Effect.zipRight(connection.executeUnprepared(ClientEncoding.other, [], undefined)),
      Effect.tap((rows) => {
        violation ??= ClientEncoding.changed(rows)
        return connection.executeRaw(`${ClientEncoding.reset}; ${settled}`, [])
      }),
      Effect.asVoid
    )
    const session = PgSession.of({
      reserve: reserved(guarded),
      connection: guarded,
      disconnect: DriverAccess.disconnect(wire),
      closedFor: (failure) => {
        closedFor = failure
      },
      // The driver gives a failure before the server has told the state that it left: another statement is answered behind that.
      isOpen: Effect.map(Effect.ignore(connection.executeRaw("SELECT 1", [])), () =>
        Option.exists(DriverAccess.transactionStatus(wire), (status) => status !== "I")
      ),
      located: (addresses) => {
        for (const [name, found] of StepStatements.tablesFound(names, addresses)) tables.set(name, found)
      },
      tables,
      mayHold: (key) => {
        lock = key
      },
      holds: Effect.suspend((): Effect.Effect<unknown, LockControl | EncodingChanged | SqlError> => {
        if (violation !== undefined) return Effect.fail(violation)
        return lock === undefined ? Effect.void : Effect.filterOrFail(isHeld(connection, lock), identity, lockIsGone)
      }),
      savepoint: parts.savepoint,
      settle
    })
    const client = yield* SqlClient.make({
      // The scope of a statement may be that of a stream, which is open as long as its reader takes: the turn is the statement's.
      acquirer: Effect.succeed(inTurn),
      transactionAcquirer: reserved(parts.connection),
      compiler: PgClient.makeCompiler(),
      spanAttributes: []
    }).pipe(Effect.provide(Reactivity.layer))

    const freed = Effect.suspend(() =>
      lock === undefined
        ? Effect.void
        : connection.executeUnprepared(`SELECT pg_advisory_unlock(${lock})`, [], undefined)
    )
    const end = Effect.gen(function* () {
      over = true
      yield* settle
      yield* connection.executeRaw(StepStatements.resetForSession(settings), [])
      yield* freed
    })
    return {
      provide: (body) =>
        outsideTransaction(body).pipe(
          Effect.provideService(PgSession, session),
          Effect.provideService(SqlClient.SqlClient, client)
        ),
      end: Effect.ignore(BoundedWait.within(end, endPatience))
    }
  })

const lockIsGone = () => new LockControl({ statement: "a statement or function freed it" })

const ownLock = (key: bigint): string =>
  `SELECT 1 AS held FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = pg_backend_pid()
    AND ((classid::bigint << 32) | objid::bigint) = '${key}'::bigint`

/** Whether the session of this connection holds the lock of this key. */
const isHeld = (connection: Connection, key: bigint): Effect.Effect<boolean, SqlError> =>
  Effect.map(connection.executeUnprepared(ownLock(key), [], undefined), (found) => found.length > 0)

const Identity = Schema.Tuple(
  Schema.Struct({ search_path: Schema.String, role: Schema.String, session_user: Schema.String })
)

/** Search path, role and user of the session as it is. */
const identityOf = (connection: Connection) =>
  connection.executeUnprepared(`SELECT ${StepStatements.sessionColumns}`, [], undefined).pipe(
    Effect.flatMap(Schema.decodeUnknown(Identity)),
    Effect.map(([identity]) => identity),
    Effect.catchTag("ParseError", (error) => Effect.fail(sqlError(error)))
  )

/** A transaction of the caller is on another connection. */
const outsideTransaction = <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(body, (context: Context.Context<R>) => {
    const services = new Map(context.unsafeMap)
    services.delete(SqlClient.TransactionConnection.key)
    return Context.unsafeMake<R>(services)
  })
