/**
 * `SnapshotRows` on PostgreSQL.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { Folded, MendedKind, SnapshotType, Stray, StrayKind } from "../../snapshot/SnapshotRows.js"
import { SnapshotRows } from "../../snapshot/SnapshotRows.js"
import { PgSql, rows } from "../client/PgSql.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as SnapshotStatement from "./SnapshotStatement.js"

/** The stored snapshots in the table that the settings' schema has, or the search path finds. */
export const make: Effect.Effect<SnapshotRows["Type"], never, PgSql | PgSchema> = Effect.gen(function* () {
  const sql = yield* PgSql
  const schema = yield* PgSchema
  const table = yield* SnapshotStatement.tableOf(schema)
  let isThere = false

  /** Where there is no table, nothing is stored: then a table of the same columns that has no row is read. */
  const located = Effect.suspend(() =>
    isThere
      ? Effect.succeed(table.name)
      : Effect.map(schema.missingOf([table]), (missing) => {
          isThere = missing.length === 0
          return isThere ? table.name : noTable
        })
  )

  const ask = <A, I>(
    action: string,
    answer: Schema.Schema<A, I>,
    statement: (table: string) => string,
    params: ReadonlyArray<unknown>
  ) => Effect.flatMap(located, (name) => sql.unsafe(statement(name), params).pipe(rows(action, answer)))

  const differing =
    <Kind extends MendedKind, I>(
      action: string,
      answer: Schema.Schema<{ readonly n: number; readonly kind: Kind }, I>,
      statement: (table: string) => string
    ) =>
    (
      { aggregateType, snapshotVersion }: SnapshotType,
      folded: NonEmptyReadonlyArray<Folded>
    ): Effect.Effect<ReadonlyArray<readonly [Folded, Kind]>, DatabaseError> =>
      Effect.map(
        ask(action, answer, statement, [JSON.stringify(folded.map(toInput)), aggregateType, snapshotVersion]),
        (found) =>
          found.flatMap(({ kind, n }) =>
            Option.toArray(Option.map(Option.fromNullable(folded[n]), (one) => [one, kind] as const))
          )
      )

  return SnapshotRows.of({
    areStored: ({ aggregateType, snapshotVersion }) =>
      Effect.map(
        ask("looking for snapshots", Stored, SnapshotStatement.areStored, [aggregateType, snapshotVersion]),
        Arr.isNonEmptyReadonlyArray
      ),
    versions: ({ aggregateType, snapshotVersion }, streams) =>
      Effect.map(
        ask("reading the snapshots", Version, SnapshotStatement.versions, [
          aggregateType,
          snapshotVersion,
          JSON.stringify(
            streams.map(({ aggregateId, tenantId }) => ({ tenant_id: tenantId, aggregate_id: aggregateId }))
          )
        ]),
        (found) =>
          found.map((row) => ({ tenantId: row.tenant_id, aggregateId: row.aggregate_id, version: row.version }))
      ),
    compare: differing("comparing the snapshots", Differing, SnapshotStatement.compare),
    mend: differing("storing the snapshots", Mended, SnapshotStatement.mend),
    strays: ({ aggregateType, snapshotVersion }, limit) =>
      Effect.map(
        ask("looking for snapshots of nothing", StrayRow, SnapshotStatement.listStrays, [
          aggregateType,
          snapshotVersion,
          limit
        ]),
        (found) => {
          const countOf = (kind: StrayKind) => found.find((row) => row.kind === kind)?.all_of_kind ?? 0
          return {
            counts: { orphaned: countOf("orphaned"), beyond: countOf("beyond"), outdated: countOf("outdated") },
            first: found.map(toStray)
          }
        }
      ),
    removeStrays: ({ aggregateType, snapshotVersion }, limit) =>
      Effect.map(
        ask("deleting snapshots of nothing", StrayRow, SnapshotStatement.removeStrays, [
          aggregateType,
          snapshotVersion,
          limit
        ]),
        (found) => found.map(toStray)
      )
  })
})

const noTable = `(SELECT NULL::tid AS ctid, NULL::uuid AS tenant_id, NULL::uuid AS aggregate_id, NULL::text AS aggregate_type,
    NULL::integer AS snapshot_version, NULL::integer AS version, NULL::bigint AS event_id, NULL::jsonb AS state WHERE false)`

const toInput = ({ aggregateId, eventId, isHead, state, tenantId, version }: Folded, n: number) => ({
  n,
  tenant_id: tenantId,
  aggregate_id: aggregateId,
  version,
  event_id: `${eventId}`,
  isHead,
  state
})

const Stored = Schema.Struct({ tenant_id: Schema.String })

const Version = Schema.Struct({
  tenant_id: Schema.String,
  aggregate_id: Schema.String,
  version: Schema.NumberFromString
})

const Differing = Schema.Struct({
  n: Schema.NumberFromString,
  kind: Schema.Literal("missing", "behind", "different")
})

const Mended = Schema.Struct({
  n: Schema.NumberFromString,
  kind: Schema.Literal("missing", "behind", "different", "newer")
})

const StrayRow = Schema.Struct({
  ...Version.fields,
  snapshot_version: Schema.NumberFromString,
  kind: Schema.Literal("orphaned", "beyond", "outdated"),
  all_of_kind: Schema.NumberFromString
})

const toStray = (row: typeof StrayRow.Type): Stray => ({
  kind: row.kind,
  tenantId: row.tenant_id,
  aggregateId: row.aggregate_id,
  snapshotVersion: row.snapshot_version,
  version: row.version
})
