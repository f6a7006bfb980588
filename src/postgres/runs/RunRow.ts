/**
 * Rows of the tables of runs: numbers and instants as text, as drivers differ in what they make of them.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { AttemptError } from "../../operation/Attempt.js"
import type { Run, RunLane } from "../../operation/Run.js"
import { rateOf, RunAccess, RunOutcome } from "../../operation/Run.js"
import * as PgTime from "../client/PgTime.js"
import { literal } from "../client/SqlText.js"

const Json = Schema.NullOr(Schema.parseJson())

/** A run, as it is selected. */
export const RunRow = Schema.Struct({
  id: Schema.String,
  operation_type: Schema.String,
  name: Schema.String,
  params: Schema.parseJson(),
  definition: Schema.String,
  access: Schema.parseJson(RunAccess),
  phase: Schema.String,
  cursor: Json,
  done: Schema.NumberFromString,
  total: Schema.NullOr(Schema.NumberFromString),
  counters: Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.Number })),
  epoch: Schema.NumberFromString,
  /** What its owner has done, and in how many milliseconds. */
  epoch_done: Schema.NumberFromString,
  epoch_ms: Schema.NumberFromString,
  host: Schema.String,
  pid: Schema.NumberFromString,
  lease_until: Schema.NullOr(PgTime.Column),
  is_live: Schema.Literal("t", "f"),
  started_at: PgTime.Column,
  updated_at: PgTime.Column,
  ended_at: Schema.NullOr(PgTime.Column),
  outcome: RunOutcome,
  error: Schema.NullOr(Schema.parseJson(AttemptError))
})

/** A lane, as it is selected. */
export const LaneRow = Schema.Struct({
  lane: Schema.String,
  cursor: Json,
  done: Schema.NumberFromString,
  batches: Schema.NumberFromString
})

/** The statement that answers with the lanes of a run. */
export const selectLanes = ({ lanes }: RunTables, id: string): string =>
  `SELECT lane, cursor::text, done::text, batches::text FROM ${lanes} WHERE run_id = ${literal(id)} ORDER BY lane`

/** The quoted names of the tables. */
export interface RunTables {
  readonly runs: string
  readonly lanes: string
}

/** The statement that answers with the runs that meet a condition on `r`, each with what its lanes have done. */
export const select = ({ lanes, runs }: RunTables, condition: string): string =>
  `SELECT r.id::text, r.operation_type, r.name, r.params::text, r.definition, r.access::text, r.phase, r.cursor::text,
      (r.done + coalesce(l.done, 0))::text AS done, r.total::text, r.epoch::text, r.host, r.pid::text, r.outcome, r.error::text,
      (SELECT coalesce(jsonb_object_agg(c.key, c.sum), '{}') FROM (SELECT e.key, sum(e.value::numeric) AS sum
          FROM (SELECT r.counters AS counters UNION ALL SELECT o.counters FROM ${lanes} o WHERE o.run_id = r.id) AS a,
            jsonb_each_text(a.counters) AS e GROUP BY e.key) AS c)::text AS counters,
      (r.done + coalesce(l.done, 0) - r.epoch_done)::text AS epoch_done,
      (extract(epoch FROM greatest(r.updated_at, l.updated_at) - r.epoch_at) * 1000)::bigint::text AS epoch_ms,
      CASE WHEN r.outcome = 'running' AND r.lease_until >= clock_timestamp() THEN 't' ELSE 'f' END AS is_live,
      ${PgTime.select("lease_until")}, ${PgTime.select("started_at")}, ${PgTime.select("ended_at")}, u.updated_at
    FROM ${runs} r
      LEFT JOIN LATERAL (SELECT sum(o.done) AS done, max(o.updated_at) AS updated_at FROM ${lanes} o WHERE o.run_id = r.id) AS l ON true
      CROSS JOIN LATERAL (SELECT ${PgTime.select("updated_at")} FROM (SELECT greatest(r.updated_at, l.updated_at) AS updated_at) AS g) AS u
    WHERE ${condition} ORDER BY r.started_at, r.id`

export const toRun = (row: typeof RunRow.Type): Run => ({
  id: row.id,
  operationType: row.operation_type,
  name: row.name,
  params: row.params,
  definition: row.definition,
  access: row.access,
  phase: row.phase,
  cursor: Option.fromNullable(row.cursor),
  done: row.done,
  total: Option.fromNullable(row.total),
  counters: row.counters,
  epoch: row.epoch,
  owner: { host: row.host, pid: row.pid },
  leaseUntil: Option.fromNullable(row.lease_until),
  isLive: row.is_live === "t",
  startedAt: row.started_at,
  updatedAt: row.updated_at,
  endedAt: Option.fromNullable(row.ended_at),
  rate: rateOf(row.epoch_done, row.epoch_ms),
  outcome: row.outcome,
  error: Option.fromNullable(row.error)
})

export const toLane = ({ batches, cursor, done, lane }: typeof LaneRow.Type): RunLane => ({
  batches,
  lane,
  cursor: Option.fromNullable(cursor),
  done
})
