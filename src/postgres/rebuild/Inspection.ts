/**
 * What is found before a rebuild begins: everything that it would refuse, and what is worth knowing.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { EventFeed } from "../../event/EventFeed.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { RebuildPolicy } from "../../projection/RebuildOptions.js"
import type { RebuildProblem } from "../../projection/RebuildProblem.js"
import {
  GhostRows,
  NotRebuildable,
  SharedKey,
  StreamIncomplete,
  UnexpectedGhosts
} from "../../projection/RebuildProblem.js"
import type { Inspection } from "../../projection/RebuildStore.js"
import type { RebuildTarget } from "../../projection/RebuildTarget.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import * as TargetProblems from "../../projection/TargetProblems.js"
import * as PatientStatement from "../client/PatientStatement.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { literal, quote } from "../client/SqlText.js"
import type { PgSchema } from "../schema/PgSchema.js"
import { hasEvents } from "./Comparison.js"
import type { LiveTable } from "./LiveTable.js"
import * as LiveTables from "./LiveTable.js"
import { shadowSchema } from "../schema/ShadowSchema.js"
import * as PurgedRows from "./PurgedRows.js"
import * as ShadowTables from "./ShadowTable.js"
import { typeIn } from "./ShadowEvents.js"
import * as Swap from "./Swap.js"

/** Looks at everything; nothing is written. */
export const make = (
  target: RebuildTarget,
  policy: RebuildPolicy
): Effect.Effect<Inspection, DatabaseError, PgSql | PgSchema | EventFeed> =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    yield* unlocked(target, policy)
    const live = (yield* Effect.forEach(target.tables, (table) => LiveTables.find(sql, table))).flatMap(Option.toArray)
    const unordered = yield* (yield* EventFeed).problem
    const reasons = [
      ...Option.toArray(Option.map(unordered, ({ message }) => message)),
      ...TargetProblems.reasons(target, policy),
      ...(yield* schemaProblems),
      ...live.flatMap((table) => tableProblems(table, policy)),
      ...(target.work._tag === "Apply" ? yield* countProblems : [])
    ]
    const problems: Array<RebuildProblem> = Arr.isNonEmptyReadonlyArray(reasons)
      ? [new NotRebuildable({ projection: target.name, reasons })]
      : []
    const events = yield* eventsOf(target)
    const found = reasons.length > 0 ? noGhosts : yield* ghosts(target, live)
    if (reasons.length === 0)
      problems.push(...(yield* streamProblems(target, policy)), ...ghostProblems(target, policy, found))
    return {
      problems,
      notes: notesOf(target, live, policy),
      events: events.count,
      aggregateTypes: events.aggregateTypes,
      rows: live.reduce((sum, each) => sum + each.rows, 0),
      ghosts: found.count,
      bytes: live.reduce((sum, { bytes }) => sum + bytes, 0) * 2,
      shape: live.map(({ shape }) => shape).join(" ")
    }
  })

/** Waits for tables that another session has locked, within `lockTimeout`; what is asked of them behind that has nobody to wait for. */
const unlocked = (
  { tables }: RebuildTarget,
  { lockTimeout }: RebuildPolicy
): Effect.Effect<unknown, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) => {
    const names = ["kumiko_events", ...tables.map(({ name }) => quote(name))]
    const opened = names.map((name) => `pg_relation_size(to_regclass(${literal(name)}))`)
    const patient = PatientStatement.make(sql, { lockTimeout }, "read", names)
    return Effect.mapError(patient(sql.unsafe(`SELECT ${opened.join(", ")}`)), databaseError("looking at the tables"))
  })

const Privileges = Schema.Struct({ reason: Schema.NullOr(Schema.String) })

/** What functions write elsewhere is noticed by the counts that the server keeps. */
const countProblems = Effect.flatMap(PgSql, (sql) =>
  sql
    .unsafe(
      "SELECT CASE WHEN current_setting('track_counts') = 'off' THEN 'track_counts is off: what it writes to other tables would not be noticed' END AS reason"
    )
    .pipe(rows("looking at the settings", Privileges))
).pipe(Effect.map((found) => found.flatMap(({ reason }) => reason ?? [])))

/** Shadows are in a schema of their own, which has to be there or be made. */
const schemaProblems: Effect.Effect<ReadonlyArray<string>, DatabaseError, PgSql> = Effect.flatMap(PgSql, (sql) =>
  sql
    .unsafe(
      `SELECT CASE WHEN to_regnamespace(${literal(shadowSchema)}) IS NULL
        THEN CASE WHEN NOT has_database_privilege(current_database(), 'CREATE')
          THEN 'the schema ${shadowSchema} is missing, and this role may not create it: es-ops schema prints the statement' END
        ELSE CASE WHEN NOT (has_schema_privilege(${literal(shadowSchema)}, 'CREATE') AND has_schema_privilege(${literal(shadowSchema)}, 'USAGE'))
          THEN 'this role may not create tables in the schema ${shadowSchema}: es-ops schema --grants prints the statement' END END AS reason`
    )
    .pipe(rows("looking at the privileges of this role", Privileges))
).pipe(Effect.map((found) => found.flatMap(({ reason }) => reason ?? [])))

const tableProblems = (live: LiveTable, { mode }: RebuildPolicy): ReadonlyArray<string> => {
  const { name } = live.table
  const declared = new Set(live.table.columns.map((column) => column.name))
  const there = new Set(live.columns.map((column) => column.name))
  const others = live.columns.filter((column) => !declared.has(column.name) && !column.isGenerated)
  const missing = live.table.columns.filter((column) => !there.has(column.name))
  const required = missing.filter((column) => column.nullable !== true)
  const swapObstacles = Swap.obstacles(live)
  return [
    ...(live.kind === "r" || live.kind === "p" ? [] : [`${name} is no table`]),
    ...others.map(
      (column) => `${name} has a column "${column.name}" that its definition lacks: rows could not be computed whole`
    ),
    ...required.map(
      (column) =>
        `${name} lacks the column "${column.name}", which takes no null: es-ops schema --diff prints the statement that adds it`
    ),
    ...(missing.length > required.length && !live.isMine
      ? [
          `${name} lacks columns, and this role does not own it: es-ops schema --diff prints the statements that add them`
        ]
      : []),
    ...(live.keys.some(
      (key) =>
        key.length === live.table.primaryKey.length && key.every((column) => live.table.primaryKey.includes(column))
    )
      ? []
      : [`${name} has no unique index on its key (${live.table.primaryKey.join(", ")})`]),
    ...(live.isWritable ? [] : [`this role may not select, insert, update and delete in ${name}`]),
    ...(live.hasPolicy
      ? [`row level security applies to this role in ${name}: it does not see or write all rows`]
      : []),
    ...live.rules.map((rule) => `rule ${rule} of ${name} changes what is written`),
    ...(mode === "swap" && swapObstacles.length > 0
      ? [`${name} cannot be swapped, as this would stay behind: ${swapObstacles.join(", ")}`]
      : [])
  ]
}

const Events = Schema.Struct({ count: Schema.NumberFromString, types: Schema.parseJson(Schema.Array(Schema.String)) })

/** How many events count, and of which types of aggregates any are, archived ones among them: one that is restored counts again. */
export const eventsOf = ({ archived, events }: RebuildTarget) =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(
        `SELECT coalesce(sum(n), 0)::text AS count, coalesce(json_agg(aggregate_type), '[]')::text AS types
        FROM (SELECT e.aggregate_type, count(*)${archived === "keep" ? "" : " FILTER (WHERE a.aggregate_id IS NULL)"} AS n FROM kumiko_events e${
          archived === "keep"
            ? ""
            : " LEFT JOIN kumiko_archived_streams a ON a.tenant_id = e.tenant_id AND a.aggregate_id = e.aggregate_id"
        } WHERE ${typeIn(events)} GROUP BY e.aggregate_type) AS t`
      )
      .pipe(rows("counting events", Events))
  ).pipe(Effect.map(([found]) => ({ count: found?.count ?? 0, aggregateTypes: found?.types ?? [] })))

const Streams = Schema.Struct({ count: Schema.NumberFromString, ids: Schema.parseJson(Schema.Array(Schema.String)) })

/** Streams that cannot be folded: with versions that are missing, or with an id that two tenants have. */
const streamProblems = (target: RebuildTarget, { onPoison }: RebuildPolicy) =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const look = (text: string) =>
      Effect.map(
        sql
          .unsafe(
            `SELECT count(*)::text AS count, coalesce(to_json((array_agg(id ORDER BY id))[1:20]), '[]')::text AS ids FROM (${text}) AS t (id)`
          )
          .pipe(rows("looking at the streams", Streams)),
        ([found]) => found ?? { count: 0, ids: [] }
      )
    const incomplete = onPoison === "quarantine" ? { count: 0, ids: [] } : yield* look(incompleteStreams(target))
    const shared = isByAggregate(target) ? yield* look(sharedAggregates(target)) : { count: 0, ids: [] }
    return [
      ...(incomplete.count === 0
        ? []
        : [new StreamIncomplete({ projection: target.name, count: incomplete.count, streams: incomplete.ids })]),
      ...(shared.count === 0
        ? []
        : [new SharedKey({ projection: target.name, count: shared.count, aggregateIds: shared.ids })])
    ]
  })

/** Each stream, by an index alone. */
const allStreams = `(SELECT tenant_id, aggregate_id, count(*) AS events, min(version) AS first, max(version) AS last
    FROM kumiko_events GROUP BY tenant_id, aggregate_id)`

/** Whether events of a stream `g` count. */
const counts = ({ archived, events }: RebuildTarget): string =>
  `EXISTS (SELECT FROM kumiko_events e WHERE e.tenant_id = g.tenant_id AND e.aggregate_id = g.aggregate_id AND ${typeIn(events)})${
    archived === "keep"
      ? ""
      : " AND NOT EXISTS (SELECT FROM kumiko_archived_streams a WHERE a.tenant_id = g.tenant_id AND a.aggregate_id = g.aggregate_id)"
  }`

/** Streams with such events, whose versions are not 1, 2, 3, …, each as `tenant/aggregate`. What few streams are left is looked at then. */
export const incompleteStreams = (target: RebuildTarget): string =>
  `WITH g AS MATERIALIZED (SELECT tenant_id, aggregate_id FROM ${allStreams} AS s WHERE events <> last OR first <> 1)
    SELECT tenant_id || '/' || aggregate_id FROM g WHERE ${counts(target)}`

/** Aggregates with such events in two tenants. */
const sharedAggregates = (target: RebuildTarget): string =>
  `WITH g AS MATERIALIZED (SELECT * FROM (SELECT tenant_id, aggregate_id, count(*) OVER (PARTITION BY aggregate_id) AS tenants
      FROM ${allStreams} AS s) AS n WHERE tenants > 1)
    SELECT aggregate_id::text FROM g WHERE ${counts(target)} GROUP BY aggregate_id HAVING count(*) > 1`

interface Ghosts {
  readonly count: number
  readonly keys: ReadonlyArray<string>
}

const noGhosts: Ghosts = { count: 0, keys: [] }

/** Live rows without any event; where the key is not the aggregate, they are known only when the rows were computed. */
const ghosts = (target: RebuildTarget, live: ReadonlyArray<LiveTable>) =>
  Effect.gen(function* () {
    const [table] = live
    const [key] = table?.table.primaryKey ?? []
    if (!isByAggregate(target) || table === undefined || key === undefined) return noGhosts
    const sql = yield* PgSql
    const shadow = ShadowTables.make("", 0, table, false)
    const [found] = yield* sql
      .unsafe(
        `SELECT count(*)::text AS count, coalesce(to_json((array_agg(${ShadowTables.keyJson(shadow, "l")}))[1:20]), '[]')::text AS ids
        FROM ${table.name} l WHERE NOT ${hasEvents({ target }, shadow, key)} AND NOT ${yield* PurgedRows.isPurged(key)}`
      )
      .pipe(rows("looking for rows without events", Streams))
    return found === undefined ? noGhosts : { count: found.count, keys: found.ids }
  })

/** Where the key is not the aggregate, nothing is known of them yet: not even that there are none. */
const ghostProblems = (
  target: RebuildTarget,
  { expect, ghosts: treated }: RebuildPolicy,
  { count, keys }: Ghosts
): ReadonlyArray<RebuildProblem> => {
  if (!isByAggregate(target)) return []
  const {
    name,
    tables: [table]
  } = target
  if (count > 0 && treated === "refuse")
    return [new GhostRows({ projection: name, table: table?.name ?? "", count, keys })]
  return treated === "delete" && Option.exists(expect, (expected) => expected !== count)
    ? [new UnexpectedGhosts({ projection: name, expected: Option.getOrElse(expect, () => count), found: count })]
    : []
}

const notesOf = (
  target: RebuildTarget,
  live: ReadonlyArray<LiveTable>,
  { mode }: RebuildPolicy
): ReadonlyArray<string> => [
  "replicas with an older definition must not write any more: rows that one writes later are not put right",
  ...(target.work._tag === "Apply" || isByAggregate(target)
    ? []
    : [
        `the key of ${target.tables.map(({ name }) => name).join(", ")} is not the aggregate: events of different aggregates must give the same rows in any order`
      ]),
  ...(isByAggregate(target)
    ? []
    : ["rows without any event are not counted yet: they are known when the rows are computed"]),
  ...live.flatMap(({ table, triggers }) =>
    triggers.length === 0 ? [] : [`triggers of ${table.name} fire for each row that is written: ${triggers.join(", ")}`]
  ),
  ...(mode === "swap" ? [Swap.cost] : []),
  ...(mode === "auto" && target.work._tag !== "Apply" && live.every((table) => Swap.obstacles(table).length === 0)
    ? [`where a merge of what differs would stop writers for longer than --max-stall, it is a swap: ${Swap.cost}`]
    : [])
]
