/**
 * `DatabaseHealth` on PostgreSQL: the catalog, the role's privileges, the lock and the pooler, read and never changed.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Finding, TableMismatch } from "../../operation/DatabaseHealth.js"
import { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import { fine, wrong } from "../../operation/HealthFinding.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { LockHeld } from "../../operation/OperationError.js"
import { databaseError, sqlState } from "../client/PgError.js"
import * as TableLock from "../client/TableLock.js"
import * as HolderQuery from "../lock/HolderQuery.js"
import { oldestServer } from "../client/ServerVersion.js"
import type { Pooling } from "./PoolerDetection.js"
import * as PoolerDetection from "./PoolerDetection.js"
import * as ServerFindings from "./ServerFindings.js"
import * as PurgeFindings from "./PurgeFindings.js"
import * as ShadowFindings from "./ShadowFindings.js"
import * as RunFindings from "./RunFindings.js"
import * as TableFindings from "./TableFindings.js"
import * as TriggerFindings from "./TriggerFindings.js"
import { PgSchema } from "../schema/PgSchema.js"
import { PgSql, rows } from "../client/PgSql.js"
import type { PgTable } from "../schema/PgTable.js"

const Server = Schema.Struct({
  number: Schema.NumberFromString,
  version: Schema.String,
  role: Schema.String,
  database: Schema.String
})

const Right = Schema.Struct({ name: Schema.String, right: Schema.String })

const Name = Schema.Struct({ name: Schema.String })

/** How long counting old rows may take: it reads the whole table. */
const countTimeout = "30s"

/** What the search path finds, as far as the role may see it. Its statements are made when it is asked: a boot has no use for them. */
export const make: Effect.Effect<DatabaseHealth["Type"], never, PgSql | PgSchema | OperationConfig> = Effect.map(
  Effect.all([PgSql, PgSchema, OperationConfig]),
  ([sql, schema, config]) =>
    DatabaseHealth.of({
      mismatches: schema.mismatches,
      hasSessions: Effect.suspend(() => Effect.map(poolingOf(sql), (found) => found === "none" || found === "session")),
      examine: Effect.withSpan(
        Effect.suspend(() => examine(sql, schema, config)),
        "DatabaseHealth.examine"
      )
    })
)

const poolingOf = (sql: PgSql["Type"]) =>
  Effect.mapError(PoolerDetection.detect(sql), databaseError("looking for a connection pooler"))

const examine = (
  sql: PgSql["Type"],
  schema: PgSchema["Type"],
  config: OperationConfig["Type"]
): Effect.Effect<ReadonlyArray<Finding>, DatabaseError> => {
  const server =
    sql`SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS version,
    current_user AS role, current_database() AS database`.pipe(
      rows("asking the server for its version", Server),
      Effect.map(([found]) => {
        if (found === undefined) return []
        const version = `PostgreSQL ${found.version}`
        return [
          fine("connection", `role "${found.role}" on database "${found.database}"`),
          found.number < oldestServer
            ? wrong("server version", "database", `${version}; 14 or later is needed`, "Upgrade the server.")
            : fine("server version", version)
        ]
      })
    )

  const pooler = Effect.map(poolingOf(sql), (found) => poolerFinding[found])

  const tables = Effect.gen(function* () {
    const missing = yield* schema.missing
    const mismatches = [...(yield* schema.mismatches), ...(yield* schema.mismatchesOf([...schema.kinds.values()]))]
    const absent = missing.map(({ name }) => name).join(", ")
    const found =
      absent === ""
        ? fine("tables", "all are there")
        : fine("tables", `${absent}: not there yet, created by the first seed:apply`)
    return [
      mismatches.length === 0
        ? found
        : wrong(
            "tables",
            "state",
            mismatches.map(({ reason, table }) => `${table}: ${reason}`).join("\n"),
            remediesOf(mismatches)
          ),
      yield* privileges(missing)
    ]
  })

  const role = Effect.map(
    sql`SELECT quote_ident(current_user) AS name`.pipe(rows("asking for the role", Name)),
    ([found]) => found?.name ?? "CURRENT_USER"
  )

  /** The tables of long operations that are there: a run that needs the others creates them. */
  const kinds = Effect.map(schema.missingOf([...schema.kinds.values()]), (missing) =>
    [...schema.kinds.values()].filter(({ name }) => !missing.some((table) => table.name === name))
  )

  /** A table that is there must be readable and writable; for one that is not, the role must be allowed to create it. */
  const privileges = (missing: ReadonlyArray<PgTable>) =>
    Effect.gen(function* () {
      // A role that applies seeds need not be one that runs long operations: a run names what it lacks.
      const there = schema.tables.filter((table) => !missing.some(({ name }) => name === table.name))
      const wanted = there.flatMap(({ name, writes }) => ["SELECT", ...writes].map((right) => ({ name, right })))
      const lacking = yield* sql`SELECT w.name, w.right FROM jsonb_to_recordset(${JSON.stringify(wanted)}::jsonb)
          AS w (name text, "right" text) WHERE NOT has_table_privilege(to_regclass(w.name), w.right)
        UNION ALL SELECT 'SEQUENCE ' || s.name, 'USAGE' FROM (SELECT CASE WHEN EXISTS (SELECT FROM pg_attribute a
              WHERE a.attrelid = to_regclass(w.name) AND a.attname = 'id' AND a.attidentity = '' AND NOT a.attisdropped)
            THEN pg_get_serial_sequence(w.name, 'id') END AS name
          FROM jsonb_to_recordset(${JSON.stringify(there)}::jsonb) AS w (name text)) AS s
        WHERE s.name IS NOT NULL AND NOT has_sequence_privilege(s.name, 'USAGE')`.pipe(
        rows("looking at the privileges", Right)
      )
      const uncreatable = yield* Effect.forEach(
        missing.filter(({ added }) => added === undefined),
        homeOf
      )
      const needed = uncreatable.flat().filter(({ table }) => !table.optional)
      const without = uncreatable.flat().filter(({ table }) => table.optional)
      if (lacking.length + needed.length > 0) return missingRights(lacking, needed, yield* role)
      if (without.length === 0) return fine("privileges", `the role may do what applying needs${yield* beyond(there)}`)
      return wrong("privileges", "state", saying(without), `Seeds are applied without history. ${letCreate(without)}`)
    })

  /** What the role may not do that only some need. */
  const beyond = (there: ReadonlyArray<PgTable>) => {
    const rare = [
      { name: schema.attempts, right: "UPDATE" },
      ...there.flatMap(({ changes = [], name }) => changes.map((right) => ({ name, right })))
    ].filter((right) => there.some(({ name }) => name === right.name))
    return sql`SELECT w.name, w.right FROM jsonb_to_recordset(${JSON.stringify(rare)}::jsonb)
      AS w (name text, "right" text) WHERE NOT has_table_privilege(to_regclass(w.name), w.right)`.pipe(
      rows("looking at the privileges", Right),
      Effect.map((lacking) =>
        lacking.map((right) => `; not ${rareNeed(schema, right)}: it lacks ${right.right} on ${right.name}`).join("")
      )
    )
  }

  /** Where a table that is missing would be created, if it may not be there. */
  const homeOf = (table: PgTable) =>
    Effect.map(
      sql`SELECT coalesce(n.nspname, ${table.schema ?? "none of the search path"}) AS name,
        CASE WHEN n.oid IS NULL THEN 'there is no such schema' ELSE 'CREATE is not granted' END AS right
      FROM (SELECT ${table.schema === undefined ? sql`current_schema()` : sql`${table.schema}::name`} AS name) AS s
        LEFT JOIN pg_namespace n ON n.nspname = s.name
      WHERE n.oid IS NULL OR NOT has_schema_privilege(n.oid, 'CREATE')`.pipe(rows("looking at the schemas", Right)),
      (found) => found.map(({ name, right }): Uncreatable => ({ table, schema: name, reason: right }))
    )

  const lock = Effect.map(
    HolderQuery.find(sql, config.lockKey),
    Option.match({
      onNone: () => fine("lock", "free"),
      onSome: (holder) =>
        wrong(
          "lock",
          "state",
          `the operations lock (${config.lockKey}) is held by ${String(holder)}`,
          `A seed may be running. If that process hangs: SELECT pg_terminate_backend(${holder.pid});`
        )
    })
  )

  const indexes = Effect.map(
    sql`SELECT i.indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisvalid AND pg_table_is_visible(c.oid) ORDER BY 1`.pipe(rows("looking at the indexes", Name)),
    (found) => {
      const names = found.map(({ name }) => name)
      if (names.length === 0) return fine("indexes", "all are valid")
      const fix = `Unless it is being built at this moment: REINDEX INDEX CONCURRENTLY ${names[0] ?? ""}; or drop it.`
      return wrong("indexes", "state", `INVALID, left by an interrupted CREATE INDEX: ${names.join(", ")}`, fix)
    }
  )

  /** An event whose payload or metadata is a jsonb string that holds JSON, as an old release wrote them; they are read all the same. */
  const oldRows = Effect.gen(function* () {
    if (!schema.tables.some(({ name }) => name === events) || (yield* schema.missing).some(isEvents)) return []
    const mismatched = (yield* schema.mismatches).some(({ table }) => table === events)
    if (mismatched) return []
    const counted = yield* Effect.either(
      sql.withTransaction(
        Effect.zipRight(
          sql`SELECT set_config('statement_timeout', ${countTimeout}, true)`,
          sql`SELECT count(*)::text AS name FROM kumiko_events
          WHERE jsonb_typeof(payload) = 'string' OR jsonb_typeof(metadata) = 'string'`
        )
      )
    )
    if (counted._tag === "Left") {
      const state = Option.getOrElse(sqlState(counted.left), () => "")
      // query_canceled, insufficient_privilege: the table is too large, or not ours to read, which another finding says.
      if (state === "57014") return [fine("old rows", `not counted: it took longer than ${countTimeout}`)]
      if (state === "42501") return []
      return yield* databaseError("counting old rows")(counted.left)
    }
    const [row] = yield* rows("counting old rows", Name)(Effect.succeed(counted.right))
    if (row === undefined || row.name === "0") return [fine("old rows", "none")]
    const fix = `Repair: ${["payload", "metadata"].map(repair).join(" ")}`
    return [wrong("old rows", "state", `${row.name} events hold a jsonb string in place of an object`, fix)]
  })

  /** Nothing is said of runs where there was none yet, or where they cannot be read: privileges tell then. */
  const runs = Effect.flatMap(RunFindings.thereOf(sql, schema.kind("es_ops_runs")), (there) =>
    there
      ? Effect.orElseSucceed(
          Effect.all([
            RunFindings.examine(sql, schema.kind("es_ops_runs")),
            ShadowFindings.examine(sql, schema.kind("es_ops_runs"))
          ]),
          () => []
        )
      : Effect.succeed([])
  )

  /** Nothing is said of purges where there was none. */
  const purges = Effect.flatMap(RunFindings.thereOf(sql, schema.kind("es_ops_purged_streams")), (there) =>
    there
      ? Effect.orElseSucceed(
          Effect.map(PurgeFindings.examine(sql, schema.kind("es_ops_purged_streams")), (finding) => [finding]),
          () => []
        )
      : Effect.succeed([])
  )

  /** What is in the tables, which cannot be asked of one that is locked. */
  const contents = Effect.map(
    Effect.all([
      oldRows,
      Effect.flatMap(kinds, (there) => TableFindings.examine(sql, [...schema.tables, ...there])),
      runs,
      purges
    ]),
    (found): ReadonlyArray<Finding> => found.flat()
  )

  const locked = Effect.mapBoth(
    TableLock.find(
      sql,
      [...schema.tables, ...schema.kinds.values()].map(({ name }) => name),
      "read"
    ),
    {
      onFailure: databaseError("looking for locks"),
      onSuccess: Option.map(({ holder, table }) =>
        wrong(
          "locked tables",
          "database",
          `${new LockHeld({ id: "", holder, table }).message}: what is in the tables was not looked at`,
          "Wait for that session, or end it: SELECT pg_terminate_backend(<pid>)."
        )
      )
    }
  )

  return Effect.gen(function* () {
    const about = yield* server
    const more = [
      yield* pooler,
      ...(yield* tables),
      yield* lock,
      yield* indexes,
      ...(yield* ServerFindings.examine(sql, schema.tables)),
      yield* TriggerFindings.examine(sql, schema),
      ...(yield* Option.match(yield* locked, {
        onNone: () => contents,
        onSome: (finding) => Effect.succeed([finding])
      }))
    ]
    return [...about, ...more]
  })
}

/** `DatabaseHealth` on PostgreSQL. */
export const layer: Layer.Layer<DatabaseHealth, never, PgSql | PgSchema | OperationConfig> = Layer.effect(
  DatabaseHealth,
  make
)

/** A table that is missing and that this role may not create. */
interface Uncreatable {
  readonly table: PgTable
  readonly schema: string
  readonly reason: string
}

const remediesOf = (mismatches: ReadonlyArray<TableMismatch>): string =>
  [...new Set(mismatches.map(({ remedy }) => remedy ?? changeTable))].map((remedy) => `${remedy}.`).join(" ")

const changeTable =
  "Change the table, or name another one in the settings; es-ops schema prints what is expected, and with --diff how to change it"

const rareNeed = (
  { attempts, markers }: Pick<PgSchema["Type"], "attempts" | "markers">,
  { name }: typeof Right.Type
): string => {
  if (name === attempts) return 'what seeds outside any transaction (transaction: "none") need'
  return name === markers ? "what seed:unmark and seed:rename need" : "what moving, restoring or purging streams needs"
}

const saying = (list: ReadonlyArray<Uncreatable>): string =>
  list.map(({ reason, schema, table }) => `${table.name} is missing, and on schema ${schema}: ${reason}`).join("\n")

const letCreate = (list: ReadonlyArray<Uncreatable>): string =>
  list.length === 0
    ? ""
    : `Let an administrator run what es-ops schema prints${list[0]?.table.schema === undefined ? "" : ", which creates the schema as well"}.`

const missingRights = (
  lacking: ReadonlyArray<typeof Right.Type>,
  needed: ReadonlyArray<Uncreatable>,
  role: string
): Finding => {
  const missing = lacking.map(({ name, right }) => `${right} on ${name} is not granted`)
  const grants = lacking.map(({ name, right }) => `GRANT ${right} ON ${name} TO ${role};`)
  const detail = [...missing, ...(needed.length === 0 ? [] : [saying(needed)])].join("\n")
  return wrong("privileges", "database", detail, [letCreate(needed), ...grants].filter((part) => part !== "").join(" "))
}

const events = '"kumiko_events"'

const isEvents = ({ name }: PgTable): boolean => name === events

const repair = (column: string): string =>
  `UPDATE kumiko_events SET ${column} = (${column} #>> '{}')::jsonb WHERE jsonb_typeof(${column}) = 'string';`

const behind = "a connection pooler stands before the server"

/** None of it is a fault as long as no seed is refused for it. */
const poolerFinding: { readonly [pooling in Pooling]: Finding } = {
  none: fine("pooler", "none"),
  session: fine("pooler", `${behind}, one session a client`),
  transaction: fine(
    "pooler",
    `${behind} and gives each transaction another session: transactional seeds can be applied, transaction: "none" is refused`
  ),
  unknown: fine(
    "pooler",
    `${behind}; there was no second connection to tell its mode by: transaction: "none" is refused`
  )
}
