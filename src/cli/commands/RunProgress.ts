/**
 * The observer of a long operation on a terminal, where a live line shows how far it is. Elsewhere the run writes a line to the log every ten seconds
 * by itself.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RunObserver } from "../../operation/RunObserver.js"
import { progressText, silent, title } from "../../operation/RunObserver.js"
import type { LiveLine } from "../output/LiveLine.js"
import type { Terminal } from "../output/Terminal.js"

/** None where no terminal shows a live line. */
export const observer = ({ interactive }: Terminal["Type"], live: LiveLine): RunObserver | undefined =>
  interactive
    ? {
        ...silent,
        began: (run, isResumed) =>
          live.begin({ id: title(run), what: `${isResumed ? "goes on" : "begins"}: ${progressText(run)}` }),
        waiting: (run) =>
          live.begin({
            id: title(run),
            what: `waits for process ${run.owner.pid} on ${run.owner.host}: ${progressText(run)}`
          }),
        progress: (run) => live.update({ id: title(run), what: progressText(run) }),
        ended: () => live.end
      }
    : undefined

/** Shows where each run is. */
export const make = ({ err }: Terminal["Type"], live: LiveLine): RunObserver => ({
  began: (run, isResumed) =>
    Effect.zipRight(
      isResumed ? err(`${title(run)} goes on where it stood: ${progressText(run)}`) : Effect.void,
      live.begin({ id: title(run), what: progressText(run), isTimed: false })
    ),
  waiting: (run) =>
    live.begin({
      id: title(run),
      what: `waits for process ${run.owner.pid} on ${run.owner.host}, which is in it: ${progressText(run)}`,
      isTimed: false
    }),
  progress: (run) => live.begin({ id: title(run), what: progressText(run), isTimed: false }),
  ended: (run) =>
    Effect.zipRight(
      live.end,
      run.outcome === "paused"
        ? err(
            `${title(run)} is paused as run ${run.id}: ${progressText({ ...run, rate: Option.none() })}. The same command goes on there; es-ops runs:cancel ends it`
          )
        : Effect.void
    )
})
