/**
 * The report of a failure: lines on stderr for people, a document on stdout for programs.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as ServerLimit from "../../operation/ServerLimit.js"
import { ErrorDocument } from "../../seed/record/ErrorDocument.js"
import type { CommandFailure } from "./CommandFailure.js"
import { seedOf } from "./CommandFailure.js"
import { encode } from "./DocumentText.js"
import { exitCode } from "./ExitCode.js"
import * as ExitMessage from "./ExitMessage.js"
import { CurrentCommand, nextStep } from "./NextStep.js"
import { Terminal } from "./Terminal.js"

/** Reports the failure of a command that wrote no results; gives its exit code. */
export const write = (json: boolean, failure: CommandFailure): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    ExitMessage.unset()
    if (json) yield* terminal.out(document(failure))
    yield* explain(terminal, failure)
    return exitCode(failure._tag)
  })

/** The document of a failure. */
export const document = ({ _tag, message }: CommandFailure): string =>
  encode(ErrorDocument, { error: { _tag, message } })

/** Writes what happened, what `more` there is to know and the next step to stderr; as an entry of the log it has the failure's tag and seed. */
export const explain = (
  { err, paint }: Terminal["Type"],
  failure: CommandFailure,
  more: ReadonlyArray<string> = [],
  next?: Option.Option<string>
): Effect.Effect<void> =>
  Effect.flatMap(CurrentCommand, (command) => {
    const step = next ?? (isRemedied(failure) ? Option.none() : nextStep(failure._tag, command))
    const lines = [`${paint("red", "error:", "err")} ${failure.message}`, ...more, ...Option.toArray(step)]
    const seed = Option.match(seedOf(failure), { onNone: () => ({}), onSome: (id) => ({ seed: id }) })
    return Effect.annotateLogs(err(lines.join("\n")), { _tag: failure._tag, ...seed })
  })

/** Whether the message of a failure has its remedy, as the server's code tells it: then the doctor would find nothing more. */
const isRemedied = ({ code }: CommandFailure): boolean =>
  Option.isOption(code) && Option.isSome(Option.flatMap(Option.filter(code, Predicate.isString), ServerLimit.remedyOf))
