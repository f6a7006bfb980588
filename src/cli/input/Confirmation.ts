/**
 * The confirmation that a command asks for before it does what cannot be undone: `--yes`, or an answer on the terminal.
 */
import * as Effect from "effect/Effect"
import { stderr, stdin } from "node:process"
import { createInterface } from "node:readline/promises"
import { UsageError } from "../UsageError.js"

/** Asks unless `yes`. Without a terminal to ask on, and after any other answer than yes, it is a usage error: nothing was done. */
export const ask = (yes: boolean, question: string): Effect.Effect<void, UsageError> => {
  if (yes) return Effect.void
  if (!stdin.isTTY) return new UsageError({ reason: `${question} There is no terminal to ask on: say --yes` })
  return Effect.flatMap(answer(question), (given) =>
    /^y(es)?$/i.test(given.trim()) ? Effect.void : new UsageError({ reason: "not confirmed, so nothing was done" })
  )
}

const answer = (question: string): Effect.Effect<string> =>
  Effect.acquireUseRelease(
    Effect.sync(() => createInterface({ input: stdin, output: stderr })),
    (terminal) => Effect.promise((signal) => terminal.question(`${question} Go on? [y/N] `, { signal })),
    (terminal) => Effect.sync(() => terminal.close())
  )
