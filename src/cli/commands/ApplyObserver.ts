/**
 * The observer of a run: keeps its progress, and shows each seed as it waits, runs and comes to its outcome.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { LockHeld } from "../../operation/OperationError.js"
import type { Observer } from "../../seed/Observer.js"
import { rowsText } from "../output/BatchText.js"
import * as ApplyLines from "../output/ApplyLines.js"
import type { LiveLine } from "../output/LiveLine.js"
import type { Terminal } from "../output/Terminal.js"
import { writeLines } from "../output/Terminal.js"
import * as ApplyProgress from "./ApplyProgress.js"

/** With `json` outcomes are kept for the document only. */
export const make = (
  terminal: Terminal["Type"],
  live: LiveLine,
  progress: Ref.Ref<ApplyProgress.ApplyProgress>,
  json: boolean
): Observer => ({
  planned: (ids, rest) => Ref.update(progress, ApplyProgress.planned([...ids, ...rest])),
  // Where no terminal shows a live line, the waiting step writes the wait to the log.
  waiting: (id, held) => (terminal.interactive ? live.begin({ id, what: waitsFor(held) }) : Effect.void),
  started: (id, undone) =>
    Effect.zipRight(Ref.update(progress, ApplyProgress.started(id, undone)), live.begin({ id, what: "runs" })),
  progress: (id, made) =>
    Effect.zipRight(
      Ref.update(progress, ApplyProgress.batched(made.done)),
      live.update({ id, what: `runs in batches: ${rowsText(made)}` })
    ),
  committing: () => Ref.update(progress, ApplyProgress.committing(true)),
  undone: () => Ref.update(progress, ApplyProgress.committing(false)),
  outcome: (outcome) =>
    Effect.gen(function* () {
      yield* live.end
      const { planned } = yield* Ref.updateAndGet(progress, ApplyProgress.ended(outcome))
      if (json) return
      const width = Math.max(0, ...planned.map((id) => id.length))
      yield* writeLines(terminal, ApplyLines.outcomeLines(terminal, outcome, width))
    })
})

const waitsFor = ({ holder }: LockHeld): string =>
  `waits for the operations lock${Option.match(holder, { onNone: () => "", onSome: ({ pid }) => ` of server process ${pid}` })}`
