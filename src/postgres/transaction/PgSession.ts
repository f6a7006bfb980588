/**
 * One connection for a step that runs outside any transaction: everything that is asked of the database meanwhile goes over it, in turns.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Mutex from "../../operation/Mutex.js"
import { sqlError, statusOf } from "./BodyConnection.js"
import { literal } from "../client/SqlText.js"

/** The session that the current fiber is in. */
export class PgSession extends Context.Tag("effect-es-ops/PgSession")<
  PgSession,
  {
    /** The connection, for one statement or one transaction at a time: until the scope is closed. */
    readonly reserve: Effect.Effect<Connection, SqlError, Scope.Scope>
    /** The same, for whoever has it already: a statement inside a transaction of the body. */
    readonly connection: Connection
    /** Whether the body left a transaction of its own open. */
    readonly isOpen: () => boolean
    /** Notes that the session may hold the lock of this key, or that it does not; told before the lock is tried. */
    readonly mayHold: (key: bigint | undefined) => void
    /** Ends what the body left open, and puts search path and role back: where the marker goes is not the body's to decide. */
    readonly settle: Effect.Effect<void, SqlError>
  }
>() {}

/** A session over one connection. */
export interface Session {
  /** Gives the step the session, and a `SqlClient` over its connection; a transaction around it is not its own. */
  readonly provide: <A, E, R>(step: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Releases what the session holds and puts back what was set; false if that cannot be known. */
  readonly end: Effect.Effect<boolean>
}

/** Where the system cannot tell a server that a connection was closed, the setting is refused (22023). */
export const noticesClosedConnections =
  "version() ~* 'linux|emscripten' OR (current_setting('server_version_num')::integer >= 150000 AND version() !~* 'mingw|visual c|windows')"

const Before = Schema.Tuple(Schema.Struct({ search_path: Schema.String, role: Schema.String }))

/** Begins a session: `values` are settings for as long as it lasts. */
export const make = (
  raw: Connection & { readonly pg: unknown },
  values: Readonly<Record<string, string>>
): Effect.Effect<Session, SqlError> =>
  Effect.gen(function* () {
    const { alone, scoped } = Mutex.make()
    let lock: bigint | undefined
    let over = false
    const [before] = yield* raw
      .executeUnprepared(
        "SELECT current_setting('search_path') AS search_path, current_setting('role') AS role",
        [],
        undefined
      )
      .pipe(
        Effect.flatMap(Schema.decodeUnknown(Before)),
        Effect.catchTag("ParseError", (error) => Effect.fail(sqlError(error)))
      )
    const list = Object.keys(values)
      .map((name) => `'${name}'`)
      .join(", ")
    const wanted = Object.entries(values).map(([name, value]) => `('${name}', '${value}')`)
    yield* raw.executeRaw(
      `SELECT set_config(s.name, v.value, false) FROM pg_settings s JOIN (VALUES ${wanted.join(", ")}) AS v (name, value) USING (name)
        WHERE name <> 'client_connection_check_interval' OR ${noticesClosedConnections}`,
      []
    )

    /** A fiber that the body left running must not write on a connection that is another's by then. */
    const unlessOver = <A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
      Effect.suspend(() =>
        over ? Effect.fail(sqlError(new Error("the session that this statement belongs to is over"))) : run
      )
    const guarded: Connection = {
      execute: (text, params, transform) => unlessOver(raw.execute(text, params, transform)),
      executeRaw: (text, params) => unlessOver(raw.executeRaw(text, params)),
      executeValues: (text, params) => unlessOver(raw.executeValues(text, params)),
      executeUnprepared: (text, params, transform) => unlessOver(raw.executeUnprepared(text, params, transform)),
      executeStream: (text, params, transform) =>
        over ? Stream.fail(sqlError(new Error("the session is over"))) : raw.executeStream(text, params, transform)
    }
    // Read whole: a cursor held open would keep the turn, and the statement that the reader sends next would wait for ever.
    const ofBody: Connection = {
      ...guarded,
      executeStream: (text, params, transform) => Stream.fromIterableEffect(guarded.execute(text, params, transform))
    }
    // A scope of a statement may be that of a stream, which is open as long as its reader takes: the turn is the statement's.
    const perStatement: Connection = {
      execute: (text, params, transform) => alone(guarded.execute(text, params, transform)),
      executeRaw: (text, params) => alone(guarded.executeRaw(text, params)),
      executeValues: (text, params) => alone(guarded.executeValues(text, params)),
      executeUnprepared: (text, params, transform) => alone(guarded.executeUnprepared(text, params, transform)),
      executeStream: (text, params, transform) =>
        Stream.fromIterableEffect(alone(guarded.execute(text, params, transform)))
    }
    const taking = (connection: Connection): Effect.Effect<Connection, SqlError, Scope.Scope> =>
      unlessOverScoped(() => over, Effect.as(Effect.interruptible(scoped), connection))

    const settle = Effect.asVoid(
      raw.executeRaw(
        // Outside a transaction it is a warning.
        `ROLLBACK; SELECT set_config('search_path', ${literal(before.search_path)}, false), set_config('role', ${literal(before.role)}, false)`,
        []
      )
    )
    const session = PgSession.of({
      reserve: taking(guarded),
      connection: guarded,
      isOpen: () => statusOf(raw) === "T" || statusOf(raw) === "E",
      mayHold: (key) => {
        lock = key
      },
      settle
    })
    const client = yield* SqlClient.make({
      acquirer: Effect.succeed(perStatement),
      transactionAcquirer: taking(ofBody),
      compiler: PgClient.makeCompiler(),
      spanAttributes: []
    }).pipe(Effect.provide(Reactivity.layer))

    const end = Effect.gen(function* () {
      over = true
      yield* settle
      // Reset is to what the session began with: the role's, the database's and the connection's own.
      yield* raw.executeRaw(`SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN (${list})`, [])
      if (lock === undefined) return true
      const [row] = yield* raw.executeUnprepared(`SELECT pg_advisory_unlock(${lock})::text AS done`, [], undefined)
      return Object(row).done === "true"
    }).pipe(
      Effect.interruptible,
      Effect.disconnect,
      Effect.timeoutTo({ duration: "1 second", onSuccess: (done) => done, onTimeout: () => false }),
      Effect.orElseSucceed(() => false)
    )
    return {
      provide: (step) =>
        outsideTransaction(step).pipe(
          Effect.provideService(PgSession, session),
          Effect.provideService(SqlClient.SqlClient, client)
        ),
      end
    }
  })

const unlessOverScoped = <A, R>(
  isOver: () => boolean,
  acquire: Effect.Effect<A, never, R>
): Effect.Effect<A, SqlError, R> =>
  Effect.suspend(() =>
    isOver() ? Effect.fail(sqlError(new Error("the session that this statement belongs to is over"))) : acquire
  )

/** A transaction of whoever calls is on another connection. */
const outsideTransaction = <A, E, R>(step: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(step, (context: Context.Context<R>) => {
    const services = new Map(context.unsafeMap)
    services.delete(SqlClient.TransactionConnection.key)
    return Context.unsafeMake<R>(services)
  })
