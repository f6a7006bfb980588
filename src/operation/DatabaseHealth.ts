/**
 * The health of a database tells before anything is written whether it can be used: tables of another shape, and all that the doctor looks at.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "./OperationError.js"

/** A table exists with other columns than are needed. */
export class TableMismatch extends Schema.TaggedError<TableMismatch>()("TableMismatch", {
  /** Its name as it is looked for: quoted, with its schema where one is set. */
  table: Schema.String,
  reason: Schema.String,
  /** What to do about it, where that is not to change it. */
  remedy: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const remedy = this.remedy ?? "Change it (es-ops schema --diff prints how), or name another one in the settings"
    return `the table ${this.table} cannot be used: ${this.reason}. ${remedy}`
  }
}

/** A finding: one thing that was looked at. */
export interface Finding {
  /** What was looked at: `connection`, `lock`, … */
  readonly name: string
  /** `none`: as it should be. `database`: it cannot be reached, or refuses what we need. `state`: anything else worth a person's eyes. */
  readonly fault: "none" | "state" | "database"
  /** What was found. */
  readonly detail: string
  /** What to do about it, where there is something to do. */
  readonly fix: Option.Option<string>
}

/** The port of a database's health. */
export class DatabaseHealth extends Context.Tag("effect-es-ops/DatabaseHealth")<
  DatabaseHealth,
  {
    /** Tables that exist, and cannot be used as they are. */
    readonly mismatches: Effect.Effect<ReadonlyArray<TableMismatch>, DatabaseError>
    /** Whether what belongs to a session can be relied on: not behind a pooler that gives each transaction another one. */
    readonly hasSessions: Effect.Effect<boolean, DatabaseError>
    /** Looks at everything, writes nothing. A database that answers has findings; one that does not is a `DatabaseError`. */
    readonly examine: Effect.Effect<ReadonlyArray<Finding>, DatabaseError>
  }
>() {}
