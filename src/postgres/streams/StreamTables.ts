/**
 * The tables besides the events that have rows of streams: ours, and those of the system that we are drop-in for. Each may be missing.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import type { PgSchema } from "../schema/PgSchema.js"

/** The quoted names of those that are there. */
export interface StreamTables {
  readonly has: (table: Known) => boolean
  readonly name: (table: Known) => string
}

const ours = ["es_ops_snapshots", "es_ops_dead_letters"] as const
const theirs = [
  "kumiko_snapshots",
  "kumiko_rebuild_dead_letters",
  "kumiko_upcaster_dead_letters",
  "kumiko_event_consumers"
] as const

/** The tables that are looked for. */
export type Known = (typeof ours)[number] | (typeof theirs)[number]

const Row = Schema.Struct({ name: Schema.String })

/** Looks which of them the search path finds, in the transaction of the fiber. */
export const find = (
  sql: SqlClient.SqlClient,
  schema: Pick<PgSchema["Type"], "kind">
): Effect.Effect<StreamTables, DatabaseError> =>
  Effect.suspend(() => {
    const names = new Map<Known, string>([
      ...ours.map((table): [Known, string] => [table, schema.kind(table)]),
      ...theirs.map((table): [Known, string] => [table, table])
    ])
    const values = [...names].map(([table, name]) => `(${literal(table)}, ${literal(name)})`).join(", ")
    return Effect.map(
      sql
        .unsafe(`SELECT t.name FROM (VALUES ${values}) AS t (name, quoted) WHERE to_regclass(t.quoted) IS NOT NULL`)
        .pipe(rows("looking for the tables of streams", Row)),
      (found) => {
        const there = new Set(found.map(({ name }) => name))
        return { has: (table) => there.has(table), name: (table) => names.get(table) ?? table }
      }
    )
  })
