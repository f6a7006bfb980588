/**
 * Rows of purged streams, which `stream:purge --keep-rows` left in the read tables: no event gives them any more, and they stay as they are.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { literal, quote } from "../client/SqlText.js"
import { PgSchema } from "../schema/PgSchema.js"
import { hasEvents } from "./Comparison.js"
import type { Shadow } from "./Shadow.js"

/** The condition by which a live row `l` is that of a purged stream; none is where nothing was purged. */
export const isPurged = (key: string): Effect.Effect<string, DatabaseError, PgSql | PgSchema> =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const stones = (yield* PgSchema).kind("es_ops_purged_streams")
    const found = yield* sql
      .unsafe(`SELECT 1 AS found WHERE to_regclass(${literal(stones)}) IS NOT NULL`)
      .pipe(rows("looking for the purged streams", Schema.Struct({})))
    return found.length === 0
      ? "false"
      : `EXISTS (SELECT FROM ${stones} p WHERE p.aggregate_id::text = lower(l.${quote(key)}::text))`
  })

/** Notes that they keep their live rows. Inside the first batch. */
export const keep = (shadow: Shadow): Effect.Effect<void, DatabaseError, PgSql | PgSchema> =>
  Effect.gen(function* () {
    const [table] = shadow.tables
    const [key] = table?.keys ?? []
    if (!isByAggregate(shadow.target) || table === undefined || key === undefined) return
    const sql = yield* PgSql
    yield* sql
      .unsafe(
        `INSERT INTO ${table.kept} (${quote(key)}) SELECT l.${quote(key)} FROM ${table.live.name} l
          WHERE ${yield* isPurged(key)} AND NOT ${hasEvents(shadow, table, key)} ON CONFLICT DO NOTHING`
      )
      .pipe(Effect.mapError(databaseError("looking for rows of purged streams")))
  })
