/**
 * The shadow of a run: everything that it has beside the live tables, from its first batch until it ends.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RunHandle } from "../../operation/OperationRun.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { RebuildPolicy } from "../../projection/RebuildOptions.js"
import type { RebuildTarget } from "../../projection/RebuildTarget.js"
import { databaseError, sqlState } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { literal, quote } from "../client/SqlText.js"
import { owned } from "../schema/PgTable.js"
import * as LiveTables from "./LiveTable.js"
import type { ShadowTable } from "./ShadowTable.js"
import * as ShadowTables from "./ShadowTable.js"
import { nameOf, prefixOf } from "./ShadowTable.js"
import { shadowSchema } from "../schema/ShadowSchema.js"

export interface Shadow {
  readonly run: RunHandle
  readonly target: RebuildTarget
  readonly policy: RebuildPolicy
  readonly tables: ReadonlyArray<ShadowTable>
  /** Quoted names: the streams that were archived when the bulk began, and a row that is there as long as the shadow is. */
  readonly archived: string
  readonly witness: string
  /** The events above those that were settled which are applied already, where projections are functions. */
  readonly applied: string
}

/** The shadow of a run over the live tables as they are now. */
export const make = (
  run: RunHandle,
  target: RebuildTarget,
  policy: RebuildPolicy
): Effect.Effect<Shadow, DatabaseError, PgSql> =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const found = yield* Effect.forEach(target.tables, (table) => LiveTables.find(sql, table))
    return {
      run,
      target,
      policy,
      tables: found
        .flatMap(Option.toArray)
        .map((live, at) => ShadowTables.make(run.id, at, live, target.work._tag === "Apply")),
      archived: nameOf(run.id, "archived"),
      witness: nameOf(run.id, "run"),
      applied: nameOf(run.id, "applied")
    }
  })

/** Creates live tables that are missing, and adds columns that take null. Inside a batch, before the shadow is made. */
export const complete = ({ tables }: RebuildTarget): Effect.Effect<void, DatabaseError, PgSql> =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    for (const table of tables) {
      const live = yield* LiveTables.find(sql, table)
      const there = new Set(
        Option.match(live, { onNone: () => [], onSome: ({ columns }) => columns.map(({ name }) => name) })
      )
      const missing = table.columns.filter(({ name }) => !there.has(name))
      const statements = Option.isNone(live)
        ? owned(false)(table).statements
        : missing.map(({ name, type }) => `ALTER TABLE ${live.value.name} ADD COLUMN ${quote(name)} ${type}`)
      if (statements.length > 0) yield* send(`completing the table ${table.name}`, statements)
    }
  })

/** Creates it; nothing of it is there. Inside a batch. */
export const create = (shadow: Shadow): Effect.Effect<void, DatabaseError, PgSql> =>
  Effect.gen(function* () {
    yield* drop(shadow.run.id)
    yield* ensureSchema
    const comment = commentOf(shadow.run.id)
    const isDropped = shadow.target.archived === "drop"
    yield* send("creating the shadow", [
      `CREATE UNLOGGED TABLE ${shadow.witness} AS SELECT ${literal(shadow.run.id)}::uuid AS run_id`,
      `COMMENT ON TABLE ${shadow.witness} IS ${literal(comment)}`,
      `CREATE UNLOGGED TABLE ${shadow.archived} AS SELECT DISTINCT aggregate_id, tenant_id FROM kumiko_archived_streams ${isDropped ? "" : "WITH NO DATA"}`,
      `COMMENT ON TABLE ${shadow.archived} IS ${literal(comment)}`,
      `ALTER TABLE ${shadow.archived} ADD PRIMARY KEY (aggregate_id, tenant_id)`,
      ...shadow.tables.flatMap((table) => ShadowTables.creation(table, comment)),
      `ANALYZE ${shadow.archived}`,
      `CREATE UNLOGGED TABLE ${shadow.applied} (id bigint PRIMARY KEY)`,
      `COMMENT ON TABLE ${shadow.applied} IS ${literal(comment)}`
    ])
  })

/** Whether it is there as it was left: a server that crashed has emptied it. */
export const isWhole = ({ run, witness }: Shadow): Effect.Effect<boolean, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql.unsafe(`SELECT FROM ${witness} WHERE run_id = ${literal(run.id)}`).pipe(
      Effect.map((found) => found.length === 1),
      Effect.catchIf(
        (error) => Option.exists(sqlState(error), (state) => state === "42P01" || state === "3F000"),
        () => Effect.succeed(false)
      ),
      Effect.mapError(databaseError("looking for the shadow"))
    )
  )

/** Drops everything that a run has there: its tables, and the functions that wrote to them. */
export const drop = (runId: string): Effect.Effect<void, DatabaseError, PgSql> =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const found = yield* sql
      .unsafe(
        `SELECT 'TABLE' AS kind, format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ${literal(shadowSchema)} AND c.relkind = 'r' AND obj_description(c.oid, 'pg_class') = ${literal(commentOf(runId))}
        UNION ALL SELECT 'FUNCTION', format('%I.%I()', n.nspname, p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = ${literal(shadowSchema)} AND starts_with(p.proname, ${literal(prefixOf(runId))})`
      )
      .pipe(rows("looking for the shadow", Schema.Struct({ kind: Schema.String, name: Schema.String })))
    const namesOf = (kind: string) => found.filter((each) => each.kind === kind).map(({ name }) => name)
    const statements = ["TABLE", "FUNCTION"].flatMap((kind) =>
      namesOf(kind).length === 0 ? [] : [`DROP ${kind} IF EXISTS ${namesOf(kind).join(", ")} CASCADE`]
    )
    if (statements.length > 0) yield* send("dropping the shadow", statements)
  })

/** By which the tables of a run are known. */
export const commentOf = (runId: string): string => `es-ops run ${runId}`

const ensureSchema = Effect.flatMap(PgSql, (sql) =>
  Effect.gen(function* () {
    const found = yield* sql
      .unsafe(`SELECT FROM pg_namespace WHERE nspname = ${literal(shadowSchema)}`)
      .pipe(Effect.mapError(databaseError("looking for the schema of shadows")))
    // Another run may create it at the same moment.
    if (found.length === 0)
      yield* Effect.catchAll(
        sql.withTransaction(sql.unsafe(`CREATE SCHEMA IF NOT EXISTS ${quote(shadowSchema)}`)),
        (error) =>
          Option.exists(sqlState(error), (state) => state === "23505" || state === "42P06")
            ? Effect.void
            : Effect.fail(databaseError("creating the schema of shadows")(error))
      )
  })
)

/** Sends statements in one message. */
export const send = (action: string, statements: ReadonlyArray<string>): Effect.Effect<void, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    Effect.asVoid(Effect.mapError(sql.unsafe(statements.join(";\n")), databaseError(action)))
  )

/** The live tables as they are, in one text. */
export const shapeOf = ({ tables }: Pick<Shadow, "tables">): string => tables.map(({ live }) => live.shape).join(" ")
