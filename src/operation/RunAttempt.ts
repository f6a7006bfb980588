/**
 * What is recorded of the end of a run: an attempt, and the marker of one that was applied. Pure.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import type { AttemptOutcome, NewAttempt } from "./Attempt.js"
import type { NewMarker } from "./Operation.js"
import { OperationId } from "./Operation.js"
import type { RecordedTime } from "./RecordedTime.js"
import type { Run } from "./Run.js"
import { operationId } from "./Run.js"
import type { RunEnding } from "./RunLog.js"
import type { Replica } from "./Replica.js"

/** The record of an end. */
export interface RunRecord {
  readonly attempt: NewAttempt
  readonly marker: Option.Option<NewMarker>
}

/** What an attempt says of each way to end. */
const outcomes: { readonly [outcome in RunEnding["outcome"]]: AttemptOutcome } = {
  applied: "applied",
  failed: "failed",
  cancelled: "interrupted",
  paused: "interrupted"
}

/** What both durations fit into. */
const longest = 2_147_483_647

/** The record of the end of `run` at this time of the database's. */
export const make = (
  run: Run,
  { appliedBy, error, marker, outcome }: RunEnding,
  by: { readonly owner: Replica["Type"]; readonly version: Option.Option<string>; readonly at: RecordedTime }
): RunRecord => {
  const { operationType, startedAt } = run
  const id = OperationId.make(operationId(run))
  const durationMs = Math.min(longest, Math.max(0, Math.round(instant(by.at) - instant(startedAt)) || 0))
  return {
    attempt: {
      operationId: id,
      operationType,
      outcome: outcomes[outcome],
      startedAt,
      endedAt: Option.some(by.at),
      durationMs: Option.some(durationMs),
      waitedMs: Option.none(),
      appliedBy,
      host: by.owner.host,
      pid: by.owner.pid,
      version: by.version,
      sourceHash: Option.none(),
      reason: outcome === "paused" || outcome === "cancelled" ? Option.some(outcome) : Option.none(),
      error
    },
    marker: Option.map(
      Option.filter(marker, () => outcome === "applied"),
      (notes) => ({
        id,
        operationType,
        durationMs,
        appliedBy,
        notes: Option.some(notes)
      })
    )
  }
}

const instant = (time: RecordedTime): number => (typeof time === "string" ? NaN : DateTime.toEpochMillis(time))
