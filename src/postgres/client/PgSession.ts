/**
 * The session of a body that runs outside any transaction: the one connection that everything it asks of the database goes over, one statement
 * or one transaction at a time.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { EncodingChanged, LockControl } from "../../operation/OperationError.js"
import type { SavepointOptions } from "./PgStep.js"

/** The session that the current fiber is in. */
export class PgSession extends Context.Tag("effect-es-ops/PgSession")<
  PgSession,
  {
    /** The connection, for one statement or one transaction at a time: until the scope is closed. */
    readonly reserve: Effect.Effect<Connection, SqlError, Scope.Scope>
    /** The same, for a statement inside a transaction of the body, which has it already. */
    readonly connection: Connection
    /** Closes the connection. */
    readonly disconnect: Effect.Effect<void>
    /** Notes why it is closed: what the body sends from then on fails for that, as the end of a transaction of its own. */
    readonly closedFor: (failure: SqlError) => void
    /** Whether the body left a transaction of its own open. */
    readonly isOpen: Effect.Effect<boolean>
    /** Notes that the session may hold the lock of this key, or that it does not; told before the lock is tried. */
    readonly mayHold: (key: bigint | undefined) => void
    /** Notes where the claim found our tables, as `PgSchema.addresses` answers. */
    readonly located: (addresses: string) => void
    /** Where that was, by their quoted names: nothing of the body's own comes between. Empty before the claim. */
    readonly tables: ReadonlyMap<string, string>
    /** Fails where the body tried to free that lock, or the session does not hold it any more; or where text was taken for another encoding. */
    readonly holds: Effect.Effect<unknown, LockControl | EncodingChanged | SqlError>
    /** Runs `part` alone among the statements of a transaction of the body, in a savepoint that is released. */
    readonly savepoint: <A, E, R>(
      part: Effect.Effect<A, E, R>,
      options?: SavepointOptions
    ) => Effect.Effect<A, E | SqlError, R>
    /** Ends what the body left open, and puts search path and role back: where the marker goes is not the body's to decide. */
    readonly settle: Effect.Effect<void, SqlError>
  }
>() {}
