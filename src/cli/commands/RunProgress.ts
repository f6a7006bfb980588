/**
 * The observer of a long operation on a terminal, where a live line shows how far it is. Elsewhere the run writes a line to the log every ten seconds
 * by itself.
 */
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
