/**
 * `ProjectionRecords` on PostgreSQL: the tables of projections and of dead letters, which are there once a run needed them.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { AskedProjection, ProjectionRecord } from "../../event/ProjectionRecords.js"
import { ProjectionRecords } from "../../event/ProjectionRecords.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { databaseError } from "../client/PgError.js"
import { alone } from "../client/DecoratedConnection.js"
import { PgSql, rows } from "../client/PgSql.js"
import * as PgTime from "../client/PgTime.js"
import { quote } from "../client/SqlText.js"
import * as TableLock from "../client/TableLock.js"
import { PgSchema } from "../schema/PgSchema.js"

const Flag = Schema.transform(Schema.Literal("t", "f"), Schema.Boolean, {
  strict: true,
  decode: (flag) => flag === "t",
  encode: (is) => (is ? "t" : "f")
})

const ThereRow = Schema.Struct({ records: Flag, letters: Flag, events: Flag })

const StateRow = Schema.Struct({
  name: Schema.String,
  is_complete: Flag,
  version: Schema.NullOr(Schema.NumberFromString),
  built_at: Schema.NullOr(PgTime.Column),
  run_id: Schema.NullOr(Schema.String),
  letters: Schema.NumberFromString,
  has_events: Flag
})

/** The records in the tables that the settings' schema has, or the search path finds. */
export const make: Effect.Effect<ProjectionRecords["Type"], never, PgSql | PgSchema | OperationConfig> = Effect.gen(
  function* () {
    const sql = yield* PgSql
    const schema = yield* PgSchema
    const { lockKey, lockTimeout } = yield* OperationConfig
    const [records, letters] = [schema.kind("es_ops_projections"), schema.kind("es_ops_dead_letters")]

    const there = Effect.suspend(() =>
      sql`SELECT ${isThere(sql, records)} AS records, ${isThere(sql, letters)} AS letters,
        ${isThere(sql, "kumiko_events")} AS events`.pipe(rows("looking for the records of projections", ThereRow))
    )

    const watch = TableLock.watch(sql, {
      tables: [records, letters, "kumiko_events"],
      access: "read",
      bound: Option.some(lockTimeout)
    })

    /** What is not there has no rows. */
    const states = (asked: ReadonlyArray<AskedProjection>, tables: typeof ThereRow.Type | undefined) => {
      const [record, letter, event] = [
        tables?.records === true
          ? records
          : "(SELECT NULL AS projection, NULL::integer AS version, NULL::timestamptz AS built_at, NULL::uuid AS run_id WHERE false)",
        tables?.letters === true ? letters : "(SELECT NULL AS projection WHERE false)",
        tables?.events === true ? "kumiko_events" : "(SELECT NULL AS type WHERE false)"
      ].map((text) => sql.literal(text))
      return sql`SELECT a.name, CASE WHEN c.is_complete THEN 't' ELSE 'f' END AS is_complete, r.version::text, r.run_id::text,
          ${sql.literal(PgTime.select("built_at"))}, coalesce(l.letters, 0)::text AS letters,
          CASE WHEN c.is_complete THEN 'f' WHEN EXISTS (SELECT FROM ${event} e
            WHERE e.type = ANY (ARRAY(SELECT jsonb_array_elements_text(a.events)))) THEN 't' ELSE 'f' END AS has_events
        FROM ROWS FROM (jsonb_to_recordset(${JSON.stringify(asked.map(toInput))}::jsonb) AS (name text, tables jsonb, events jsonb))
            WITH ORDINALITY AS a (name, tables, events, n)
          CROSS JOIN LATERAL (SELECT coalesce(bool_and(to_regclass(t) IS NOT NULL), true) AS is_complete
            FROM jsonb_array_elements_text(a.tables) AS t) AS c
          LEFT JOIN ${record} r ON r.projection = a.name
          LEFT JOIN (SELECT projection, count(*) AS letters FROM ${letter} d GROUP BY projection) AS l ON l.projection = a.name
        ORDER BY a.n`.pipe(rows("reading the records of projections", StateRow))
    }

    /** Outside any transaction the wait for one of the tables is told of, and bounded. */
    const patiently = <A>(asked: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
      Effect.flatMap(Effect.serviceOption(SqlClient.TransactionConnection), (within) =>
        Option.isSome(within)
          ? asked
          : Effect.catchTag(alone(sql, watch)(asked), "SqlError", (error) =>
              databaseError("reading the records of projections")(error)
            )
      )

    /** Under the operations lock, as with every table. */
    const create = Effect.flatMap(
      Effect.mapError(
        sql`SELECT pg_advisory_xact_lock(${lockKey.toString()}::bigint)`,
        databaseError("waiting for the operations lock")
      ),
      () => {
        const table = schema.kinds.get("es_ops_projections")
        return table === undefined ? Effect.void : Effect.flatMap(schema.missingOf([table]), schema.create)
      }
    )

    /** The table may be missing: before the first rebuild nothing needed it. */
    const write = (action: string, names: NonEmptyReadonlyArray<Written>, set: string) =>
      Effect.gen(function* () {
        const [tables] = yield* there
        if (tables?.records !== true) yield* create
        yield* sql`INSERT INTO ${sql.literal(records)} AS r (projection, version, built_at, run_id)
          SELECT w.name, w.version, statement_timestamp(), w.run FROM jsonb_to_recordset(${JSON.stringify(names)}::jsonb)
            AS w (name text, version integer, run uuid)
          ON CONFLICT (projection) DO UPDATE SET ${sql.literal(set)}`.pipe(Effect.mapError(databaseError(action)))
      })

    return ProjectionRecords.of({
      of: (asked) =>
        Effect.flatMap(there, ([tables]) =>
          Effect.map(patiently(states(asked, tables)), (found) =>
            asked.flatMap((projection, at) => {
              const row = found[at]
              return row === undefined ? [] : [toRecord(row, projection)]
            })
          )
        ),
      built: ([first, ...others], runId) => {
        const written = ({ name, version }: Pick<AskedProjection, "name" | "version">) => ({
          name,
          version,
          run: runId
        })
        return write(
          "recording a rebuild",
          [written(first), ...others.map(written)],
          "version = EXCLUDED.version, built_at = EXCLUDED.built_at, run_id = EXCLUDED.run_id"
        )
      },
      outdate: ([first, ...others]) => {
        const written = (name: string) => ({ name, version: 0, run: null })
        return write("marking projections as outdated", [written(first), ...others.map(written)], "version = 0")
      }
    })
  }
)

/** `ProjectionRecords` on PostgreSQL. */
export const layer: Layer.Layer<ProjectionRecords, never, PgSql | PgSchema | OperationConfig> = Layer.effect(
  ProjectionRecords,
  make
)

/** A record as it is written. */
interface Written {
  readonly name: string
  readonly version: number
  readonly run: string | null
}

const isThere = (sql: PgSql["Type"], table: string) =>
  sql`CASE WHEN to_regclass(${table}) IS NULL THEN 'f' ELSE 't' END`

const toInput = ({ events, name, tables }: AskedProjection) => ({ name, events, tables: tables.map(quote) })

/** A table that is missing will be made anew, with nothing in it: it lacks what events there are. */
const toRecord = (row: typeof StateRow.Type, { name, version }: AskedProjection): ProjectionRecord => ({
  name,
  version: row.is_complete ? (row.version ?? 1) : row.has_events ? 0 : version,
  lastRebuild: Option.zipWith(Option.fromNullable(row.run_id), Option.fromNullable(row.built_at), (runId, at) => ({
    runId,
    at
  })),
  deadLetters: row.letters
})
