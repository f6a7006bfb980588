/**
 * The question before something is deleted: answered by `--yes`, or by a person at a terminal.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { stderr, stdin } from "node:process"
import { createInterface } from "node:readline/promises"
import { UsageError } from "../UsageError.js"
import { Terminal } from "../output/Terminal.js"

/** Goes on when it is wanted; without a terminal to ask on it has to be said beforehand. */
export const confirm = (question: string, yes: boolean): Effect.Effect<void, UsageError, Terminal> =>
  Effect.gen(function* () {
    if (yes) return
    const { interactive } = yield* Terminal
    if (!interactive || !stdin.isTTY)
      return yield* new UsageError({ reason: `${question} There is no terminal to ask on: give --yes if it is to be` })
    const answer = yield* Effect.promise((signal) => asked(`${question} (yes/no) `, signal))
    if (!/^y(?:es)?$/i.test(answer.trim()))
      return yield* new UsageError({ reason: "it was not confirmed, so nothing was changed" })
  })

/** How many there are to be, as `--expect` says it. */
export const expected = (given: Option.Option<number>): Effect.Effect<number | undefined, UsageError> =>
  Option.exists(given, (count) => count < 0)
    ? new UsageError({ reason: `--expect: ${Option.getOrElse(given, () => 0)} is not 0 or above` })
    : Effect.succeed(Option.getOrUndefined(given))

const asked = async (question: string, signal: AbortSignal): Promise<string> => {
  const reader = createInterface({ input: stdin, output: stderr })
  try {
    return await reader.question(question, { signal })
  } finally {
    reader.close()
  }
}
