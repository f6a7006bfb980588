/**
 * Events that cannot be read or folded: they end the rebuild, or are noted with their keys, which keep their live rows.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { FoldError } from "../../event/FoldDefinition.js"
import { keyText } from "../../event/ReadTables.js"
import type { Key } from "../../event/Table.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { DeadLetter } from "../../projection/DeadLetter.js"
import type { Poison } from "../../projection/KeyFold.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import { PgSchema } from "../schema/PgSchema.js"
import type { Shadow } from "./Shadow.js"
import * as ShadowRows from "./ShadowRows.js"
import type { ShadowTable } from "./ShadowTable.js"
import { keyJson } from "./ShadowTable.js"

/** Fails with the first, or notes all, as the policy says. Inside a batch. */
export const note = (
  shadow: Shadow,
  table: ShadowTable,
  poison: ReadonlyArray<Poison>
): Effect.Effect<void, FoldError | DatabaseError, PgSql | PgSchema> =>
  Effect.gen(function* () {
    const [first] = poison
    if (first === undefined) return
    if (shadow.policy.onPoison === "fail") return yield* first.error
    yield* ShadowRows.keep(
      table,
      poison.flatMap(({ key }) => Option.toArray(key))
    )
    yield* record(
      shadow,
      poison.map(({ error, event, key }) => ({
        projection: shadow.target.name,
        table: table.live.table.name,
        key: Option.getOrUndefined(key),
        event,
        reason: error.message
      }))
    )
  })

/** Writes dead letters. */
export const record = (
  { run }: Shadow,
  letters: ReadonlyArray<DeadLetter>
): Effect.Effect<void, DatabaseError, PgSql | PgSchema> =>
  Effect.gen(function* () {
    if (!Arr.isNonEmptyReadonlyArray(letters)) return
    const sql = yield* PgSql
    const schema = yield* PgSchema
    const values = letters.map(({ event, key, projection, reason, table }) => ({
      projection,
      table_name: table ?? null,
      key: key ?? null,
      event_id: `${event.id}`,
      event_type: event.type,
      tenant_id: event.tenantId,
      aggregate_id: event.aggregateId,
      reason
    }))
    const columns = "projection, table_name, key, event_id, event_type, tenant_id, aggregate_id, reason"
    yield* sql
      .unsafe(
        `INSERT INTO ${schema.kind("es_ops_dead_letters")} (run_id, ${columns}, recorded_at)
        SELECT ${literal(run.id)}::uuid, ${columns}, clock_timestamp() FROM jsonb_to_recordset($1::jsonb) AS g (projection text, table_name text,
          key jsonb, event_id bigint, event_type text, tenant_id uuid, aggregate_id uuid, reason text)`,
        [JSON.stringify(values)]
      )
      .pipe(Effect.mapError(databaseError("recording events that cannot be folded")))
  })

/** Those of other runs are over when a projection's tables are built. */
export const forget = ({ run, target }: Shadow): Effect.Effect<void, DatabaseError, PgSql | PgSchema> =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const schema = yield* PgSchema
    const names = target.projections.map(({ name }) => literal(name)).join(", ")
    yield* sql
      .unsafe(
        `DELETE FROM ${schema.kind("es_ops_dead_letters")} WHERE projection IN (${names}) AND run_id <> ${literal(run.id)}::uuid`
      )
      .pipe(Effect.mapError(databaseError("forgetting dead letters")))
  })

/** Those of a run that did not succeed, or that begins anew, are no news. */
export const drop = (runId: string): Effect.Effect<void, DatabaseError, PgSql | PgSchema> =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const schema = yield* PgSchema
    yield* sql
      .unsafe(`DELETE FROM ${schema.kind("es_ops_dead_letters")} WHERE run_id = ${literal(runId)}::uuid`)
      .pipe(Effect.mapError(databaseError("forgetting dead letters")))
  })

/** How many this run has. */
export const count = ({ run }: Shadow): Effect.Effect<number, DatabaseError, PgSql | PgSchema> =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const schema = yield* PgSchema
    const [found] = yield* sql
      .unsafe(
        `SELECT count(*)::text AS count FROM ${schema.kind("es_ops_dead_letters")} WHERE run_id = ${literal(run.id)}::uuid`
      )
      .pipe(rows("counting dead letters", Schema.Struct({ count: Schema.NumberFromString })))
    return found?.count ?? 0
  })

/** The keys that keep their live rows, by their texts. */
export const keptKeys = (table: ShadowTable): Effect.Effect<Set<string>, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(`SELECT ${keyJson(table, "k")} AS key FROM ${table.kept} k`)
      .pipe(rows("reading keys that are kept", KeyRow))
  ).pipe(Effect.map((found) => new Set(found.map(({ key }) => keyText(table.live.table, key)))))

const KeyValue = Schema.Union(Schema.String, Schema.Number, Schema.Boolean)

/** A key, as it is selected. */
export const KeyRow = Schema.Struct({
  key: Schema.parseJson(Schema.Record({ key: Schema.String, value: KeyValue }))
}) satisfies Schema.Schema<{ readonly key: Key }, { readonly key: string }>
