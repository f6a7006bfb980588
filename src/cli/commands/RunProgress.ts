/**
 * The progress of a long operation: a live line on a terminal, a plain line every ten seconds elsewhere.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RunObserver } from "../../operation/RunObserver.js"
import { progressText, title } from "../../operation/RunObserver.js"
import * as LiveLine from "../output/LiveLine.js"
import { Terminal } from "../output/Terminal.js"

/** Shows where each run is that `operation` observes; the line is gone when it ends, however it ends. Where one fails, those that are done are named. */
export const shown = <A, E, R>(
  operation: (observer: RunObserver) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Terminal> =>
  Effect.scoped(
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const applied: Array<string> = []
      const observer = make(terminal, yield* LiveLine.make)
      const noting: RunObserver = {
        ...observer,
        ended: (run) => {
          if (run.outcome === "applied") applied.push(title(run))
          return observer.ended(run)
        }
      }
      return yield* Effect.onError(operation(noting), () =>
        applied.length === 0
          ? Effect.void
          : terminal.err(`done before that: ${applied.join(", ")}; the same command goes on with the others`)
      )
    })
  )

const make = ({ err }: Terminal["Type"], live: LiveLine.LiveLine): RunObserver => ({
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
