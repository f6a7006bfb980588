/**
 * The admission of a run: what it finds unfinished may keep it from beginning. Pure.
 */
import * as Option from "effect/Option"
import { seedMigration } from "./Operation.js"
import type { Run } from "./Run.js"
import { conflict, isSameJson, RunInProgress } from "./Run.js"
import type { RunRequest } from "./RunLog.js"

/** Whether a run is of the operation that is asked for. */
export const isOf =
  ({ name, operationType }: Pick<RunRequest, "name" | "operationType">) =>
  (run: Pick<Run, "name" | "operationType">): boolean =>
    run.operationType === operationType && run.name === name

/** Whether it has not ended. */
export const isUnfinished = ({ outcome }: Pick<Run, "outcome">): boolean =>
  outcome === "running" || outcome === "paused"

/** Whether it may be cancelled: what is done in batches under the operations lock would begin anew after that, and do its rows twice. */
export const isCancellable = (run: Pick<Run, "outcome" | "operationType">): boolean =>
  isUnfinished(run) && run.operationType !== seedMigration

/** Why it may not begin or go on beside these unfinished runs; none if it may. */
export const refusal = (request: RunRequest, unfinished: ReadonlyArray<Run>): Option.Option<RunInProgress> => {
  const own = unfinished.find(isOf(request))
  if (own !== undefined && !isSameJson(own.params, request.params))
    return Option.some(inTheWay(own, "it has other parameters"))
  for (const run of unfinished) {
    if (run === own) continue
    const types = conflict(request.access, run.access)
    if (types.length > 0)
      return Option.some(
        inTheWay(
          run,
          `events of ${types.includes("*") ? "any type" : types.join(", ")} are not to be changed while they are read`
        )
      )
  }
  return Option.none()
}

/** The refusal that names this run. */
export const inTheWay = (
  { id, isLive, name, operationType, owner }: Pick<Run, "id" | "isLive" | "name" | "operationType" | "owner">,
  reason: string
): RunInProgress => new RunInProgress({ id, operationType, name, host: owner.host, pid: owner.pid, reason, isLive })
