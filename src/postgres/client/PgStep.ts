/**
 * The step that the current fiber is in: its transaction, as the ports need it that write or read inside one.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { Late } from "./LateTriggers.js"

/** What the server answered to each statement of a text. */
export type Results = ReadonlyArray<{ readonly command: unknown; readonly rows: ReadonlyArray<unknown> }>

/** What a claim asks of the server before the body. */
export interface Claim {
  /** Columns of one row. */
  readonly columns: string
  /** One statement, which sees what was committed when that row was computed. */
  readonly statement: string
}

/** What it answered: the row, and the rows of the statement. */
export interface Claimed {
  readonly row: unknown
  readonly rows: ReadonlyArray<unknown>
}

/** How a part of a body is run in its savepoint. */
export interface SavepointOptions {
  /** A statement that is sent with the savepoint. */
  readonly begin?: string | undefined
  /** Whether what the part did stays when it succeeds. Default: yes. */
  readonly keep?: boolean | undefined
}

export class PgStep extends Context.Tag("effect-es-ops/PgStep")<
  PgStep,
  {
    /** The connection for statements of ours, past what the body may send. */
    readonly connection: Connection
    /** Runs `statement` until it ends or `watch` fails, which goes beside it once it takes long: the connection is closed then, and the server undoes the step. */
    readonly watched: <A, E, R>(
      watch: Effect.Effect<never, SqlError>,
      statement: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | SqlError, R>
    /** Sends statements of ours in one message; gives the rows of each. */
    readonly send: (text: string) => Effect.Effect<Results, SqlError>
    /** Sends a claim, and with it guard and savepoint: what follows is the body. */
    readonly open: (claim: Claim) => Effect.Effect<Claimed, SqlError>
    /** Where the claim found our tables, by their quoted names: nothing of the body's own comes between. Empty before the claim. */
    readonly tables: ReadonlyMap<string, string>
    /** Tables, as they are named in statements, that this step has seen to have no trigger and no rule; none behind a statement that may give them one. */
    readonly plain: Set<string>
    /** The rows that deferred triggers may still take away, by the names of their tables. */
    readonly late: Late
    /** The text that puts search path and role back to what the step began with. */
    readonly resetIdentity: () => string
    /** Names that statements of the body gave to settings of the application's own, such as `app.tenant`. */
    readonly ownSettings: ReadonlySet<string>
    /** Notes that this transaction created tables: they are there once it is committed. */
    readonly createdTables: () => void
    /** Runs `part` alone among the body's statements, in a savepoint. */
    readonly savepoint: <A, E, R>(
      part: Effect.Effect<A, E, R>,
      options?: SavepointOptions
    ) => Effect.Effect<A, E | DatabaseError, R>
  }
>() {}
