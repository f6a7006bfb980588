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
import type * as Scope from "effect/Scope"

/** The session that the current fiber is in. */
export class PgSession extends Context.Tag("effect-es-ops/PgSession")<
  PgSession,
  {
    /** The connection, for one statement or one transaction at a time: until the scope is closed. */
    readonly reserve: Effect.Effect<Connection, never, Scope.Scope>
    /** Notes that the session holds the lock of this key, to be released at its end. */
    readonly locked: (key: bigint) => void
  }
>() {}

/** A session over one connection. */
export interface Session {
  /** Gives the step the session, and a `SqlClient` over its connection. */
  readonly provide: <A, E, R>(step: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Releases what the session holds and puts back what was set; false if that cannot be known. */
  readonly end: Effect.Effect<boolean>
}

/** Where the system cannot tell a server that a connection was closed, the setting is refused (22023). */
export const noticesClosedConnections =
  "version() ~* 'linux|emscripten' OR (current_setting('server_version_num')::integer >= 150000 AND version() !~* 'mingw|visual c|windows')"

/** Begins a session: `values` are settings for as long as it lasts. */
export const make = (raw: Connection, values: Readonly<Record<string, string>>): Effect.Effect<Session, SqlError> =>
  Effect.gen(function* () {
    const permit = yield* Effect.makeSemaphore(1)
    let lock: bigint | undefined
    const reserve = Effect.acquireRelease(Effect.as(Effect.interruptible(permit.take(1)), raw), () => permit.release(1))
    const session = PgSession.of({
      reserve,
      locked: (key) => {
        lock = key
      }
    })
    const client = yield* SqlClient.make({
      acquirer: reserve,
      compiler: PgClient.makeCompiler(),
      spanAttributes: []
    }).pipe(Effect.provide(Reactivity.layer))
    const list = Object.keys(values)
      .map((name) => `'${name}'`)
      .join(", ")
    const wanted = Object.entries(values).map(([name, value]) => `('${name}', '${value}')`)
    yield* raw.executeRaw(
      `SELECT set_config(s.name, v.value, false) FROM pg_settings s JOIN (VALUES ${wanted.join(", ")}) AS v (name, value) USING (name)
        WHERE name <> 'client_connection_check_interval' OR ${noticesClosedConnections}`,
      []
    )
    const end = Effect.gen(function* () {
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
        step.pipe(Effect.provideService(PgSession, session), Effect.provideService(SqlClient.SqlClient, client)),
      end
    }
  })
