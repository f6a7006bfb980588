/**
 * The statements that write runs, with their values in them: what is sent together with others takes no parameters.
 */
import * as Option from "effect/Option"
import type { BatchProgress, RunKey, RunOwner } from "../../operation/Run.js"
import { lease } from "../../operation/Run.js"
import type { RunEnding, RunRequest } from "../../operation/RunLog.js"
import { literal } from "../client/SqlText.js"
import type { RunTables } from "./RunRow.js"

/** One begins after another: what each finds unfinished is all there is. The two-number form is another space of keys than the operations lock's. */
export const beginInTurn = "SELECT pg_advisory_xact_lock(1702063984, hashtext('es_ops_runs'))"

/** The statement that answers with a row while the run is its owner's, and keeps it so until the transaction ends. */
export const fence = (runs: string, { epoch, id }: RunKey, strength: "KEY SHARE" | "UPDATE"): string =>
  `SELECT id::text FROM ${runs} WHERE ${isOwn({ epoch, id })} FOR ${strength}`

const isOwn = ({ epoch, id }: RunKey): string => `id = ${literal(id)} AND epoch = ${epoch} AND outcome = 'running'`

const leaseUntil = `clock_timestamp() + interval '${lease.seconds} seconds'`

export const insert = (runs: string, id: string, request: RunRequest, { host, pid }: RunOwner): string =>
  `INSERT INTO ${runs} (id, operation_type, name, params, definition, access, phase, done, counters, epoch, epoch_at,
      epoch_done, host, pid, lease_until, started_at, updated_at, outcome)
    SELECT ${literal(id)}::uuid, ${literal(request.operationType)}, ${literal(request.name)}, ${json(request.params)},
      ${literal(request.definition)}, ${json(request.access)}, 'begun', 0, '{}', 1, t.at, 0, ${literal(host)}, ${pid},
      ${leaseUntil}, t.at, t.at, 'running' FROM (SELECT clock_timestamp() AS at) AS t`

/** Locks a run that nobody is in, so that no batch of its last owner is still to be committed. */
export const lockAbandoned = (runs: string, { epoch, id }: RunKey): string =>
  `SELECT id::text FROM ${runs} WHERE id = ${literal(id)} AND epoch = ${epoch}
    AND (outcome = 'paused' OR (outcome = 'running' AND lease_until < clock_timestamp())) FOR UPDATE`

export const takeOver = ({ lanes, runs }: RunTables, id: string, { host, pid }: RunOwner): string =>
  `UPDATE ${runs} r SET epoch = r.epoch + 1, epoch_at = clock_timestamp(), outcome = 'running', host = ${literal(host)},
      pid = ${pid}, lease_until = ${leaseUntil},
      epoch_done = r.done + coalesce((SELECT sum(l.done) FROM ${lanes} l WHERE l.run_id = r.id), 0)
    WHERE r.id = ${literal(id)}`

export const renew = (runs: string, run: RunKey): string =>
  `UPDATE ${runs} SET lease_until = ${leaseUntil} WHERE ${isOwn(run)} RETURNING id::text`

/** Notes which process did the last step of an operation that has no owner, and by which definition. */
export const attend = (
  runs: string,
  { id }: RunKey,
  definition: string,
  { host, pid }: RunOwner,
  milliseconds: number
): string =>
  stored(`UPDATE ${runs} SET host = ${literal(host)}, pid = ${pid}, definition = ${literal(definition)},
    lease_until = clock_timestamp() + interval '${Math.round(milliseconds)} milliseconds' WHERE id = ${literal(id)} RETURNING id`)

/** Writes how far a batch came. A row that was not stored fails the transaction (22012). */
export const progress = (tables: RunTables, run: RunKey, made: BatchProgress): ReadonlyArray<string> => {
  const { lane, phase, total } = made
  if (lane === undefined)
    return [
      stored(updateRun(tables.runs, run, made)),
      ...(made.cursor === undefined ? [] : [cursorKept(tables.runs, run, made.cursor)])
    ]
  const more = phase === undefined && total === undefined ? [] : [updateRun(tables.runs, run, { phase, total })]
  return [storedLane(putLane(tables.lanes, run, lane, made)), ...more.map(stored)]
}

const updateRun = (
  runs: string,
  { id }: RunKey,
  { counters, cursor, done = 0, phase, total }: Omit<BatchProgress, "lane">
): string => {
  const changes = [
    "updated_at = clock_timestamp()",
    ...(phase === undefined ? [] : [`phase = ${literal(phase)}`]),
    ...(cursor === undefined ? [] : [`cursor = ${json(cursor)}`]),
    ...(done === 0 ? [] : [`done = r.done + ${whole(done)}`]),
    ...(total === undefined ? [] : [`total = ${whole(total)}`]),
    ...(counters === undefined ? [] : [`counters = ${sum("r.counters", json(counters))}`])
  ]
  return `UPDATE ${runs} r SET ${changes.join(", ")} WHERE id = ${literal(id)} RETURNING id`
}

const putLane = (
  lanes: string,
  { id }: RunKey,
  lane: string,
  { after, counters = {}, cursor, done = 0 }: BatchProgress
): string => `INSERT INTO ${lanes} AS l (run_id, lane, cursor, done, batches, counters, updated_at)
    SELECT ${literal(id)}::uuid, ${literal(lane)}, ${cursor === undefined ? "NULL" : json(cursor)}, ${whole(done)}, 1, ${json(counters)},
      clock_timestamp()${(after ?? 0) === 0 ? "" : ` WHERE EXISTS (SELECT FROM ${lanes} WHERE run_id = ${literal(id)}::uuid AND lane = ${literal(lane)})`}
    ON CONFLICT (run_id, lane) DO UPDATE SET cursor = coalesce(excluded.cursor, l.cursor), done = l.done + excluded.done,
      batches = l.batches + 1, counters = ${sum("l.counters", "excluded.counters")}, updated_at = excluded.updated_at
    ${after === undefined ? "" : `WHERE l.batches = ${whole(after)} `}RETURNING lane`

/** Two objects of numbers, added key by key. */
const sum = (a: string, b: string): string =>
  `(SELECT coalesce(jsonb_object_agg(k.key, k.sum), '{}') FROM (SELECT e.key, sum(e.value::numeric) AS sum
      FROM (VALUES (${a}), (${b})) AS c (counters), jsonb_each_text(c.counters) AS e GROUP BY e.key) AS k)`

/** What a trigger behind the statement before made of the cursor: rows would be done again behind another one, or behind none. */
const cursorKept = (runs: string, { id }: RunKey, cursor: unknown): string =>
  `SELECT 1 / count(*)::integer AS kept FROM ${runs} WHERE id = ${literal(id)} AND cursor = ${json(cursor)}`

const stored = (write: string): string => `WITH kept AS (${write}) SELECT 1 / count(*)::integer AS kept FROM kept`

/** The root of a negative number where the lane was not where it should be. */
const storedLane = (write: string): string =>
  `WITH kept AS (${write}) SELECT sqrt(count(*)::double precision - 1) AS kept FROM kept`

/** A row that was not stored: division_by_zero. */
export const notStored = "22012"

/** A lane that another process went on with: invalid_argument_for_power_function. */
export const laneElsewhere = "2201F"

export const end = (runs: string, { id }: RunKey, { error, outcome }: Pick<RunEnding, "error" | "outcome">): string =>
  stored(`UPDATE ${runs} SET outcome = ${literal(outcome)}, lease_until = NULL, updated_at = clock_timestamp(),
    ended_at = ${outcome === "paused" ? "NULL" : "clock_timestamp()"},
    error = ${Option.match(error, { onNone: () => "NULL", onSome: json })}
    WHERE id = ${literal(id)} RETURNING id`)

export const cancel = (runs: string, id: string): string =>
  `UPDATE ${runs} SET outcome = 'cancelled', epoch = epoch + 1, lease_until = NULL, updated_at = clock_timestamp(),
    ended_at = clock_timestamp() WHERE id = ${literal(id)} AND outcome IN ('running', 'paused') RETURNING id::text`

const json = (value: unknown): string => `${literal(JSON.stringify(value) ?? "null")}::jsonb`

/** A count that is no number would be a statement of its own. */
const whole = (count: number): string => `${Math.round(Number(count))}`
