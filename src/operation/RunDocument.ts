/**
 * The JSON document of the unfinished runs.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as RecordedTime from "./RecordedTime.js"
import type { Run } from "./Run.js"
import { RunOutcome, secondsLeft } from "./Run.js"

const RunRow = Schema.Struct({
  id: Schema.String,
  operationType: Schema.String,
  name: Schema.String,
  outcome: RunOutcome,
  /** Whether a process is in it; one that is `running` and not live is gone on with by the same command. */
  live: Schema.Boolean,
  phase: Schema.String,
  done: Schema.Number,
  total: Schema.NullOr(Schema.Number),
  /** Items a second, of the process that has it. */
  rate: Schema.NullOr(Schema.Number),
  secondsLeft: Schema.NullOr(Schema.Number),
  counters: Schema.Record({ key: Schema.String, value: Schema.Number }),
  params: Schema.Unknown,
  owner: Schema.Struct({ host: Schema.String, pid: Schema.Number }),
  epoch: Schema.Number,
  startedAt: Schema.String,
  updatedAt: Schema.String,
  leaseUntil: Schema.NullOr(Schema.String)
})

/** What `runs --json` prints. */
export const RunsDocument = Schema.Struct({ schemaVersion: Schema.Literal(1), runs: Schema.Array(RunRow) })
export type RunsDocument = typeof RunsDocument.Type

/** The document of these runs. */
export const ofRuns = (runs: ReadonlyArray<Run>): RunsDocument => ({ schemaVersion: 1, runs: runs.map(rowOf) })

const rowOf = (run: Run): typeof RunRow.Type => ({
  id: run.id,
  operationType: run.operationType,
  name: run.name,
  outcome: run.outcome,
  live: run.isLive,
  phase: run.phase,
  done: run.done,
  total: Option.getOrNull(run.total),
  rate: Option.getOrNull(run.rate),
  secondsLeft: Option.getOrNull(run.isLive ? secondsLeft(run) : Option.none()),
  counters: run.counters,
  params: run.params,
  owner: run.owner,
  epoch: run.epoch,
  startedAt: RecordedTime.format(run.startedAt),
  updatedAt: RecordedTime.format(run.updatedAt),
  leaseUntil: Option.getOrNull(Option.map(run.leaseUntil, RecordedTime.format))
})
