/**
 * `seed:status` and `seed:check`: every seed with its state, on a database and on none.
 */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { refuseUnreadable } from "../../seed/SeedRefusal.js"
import { afterInterruption } from "../../seed/HalfDoneSeed.js"
import type { Status } from "../../seed/record/SeedStatus.js"
import * as SeedStatus from "../../seed/record/SeedStatus.js"
import type { DatabaseGiven, SourceGiven } from "../input/CommandOptions.js"
import { databaseOptions, sourceOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import { exitCode } from "../output/ExitCode.js"
import { nextStep } from "../output/NextStep.js"
import * as StatusLines from "../output/StatusLines.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import * as CommandRun from "./CommandRun.js"
import * as LoadOnDemand from "./LoadOnDemand.js"
import { withoutRecord, withRecord } from "./SeedSession.js"

export const statusOptions = {
  check: Options.boolean("check").pipe(
    Options.withDescription("Exit 3 if anything is pending, late or interrupted; 4 if the seeds are inconsistent")
  ),
  ...databaseOptions
}

export const checkOptions = sourceOptions

/** Shows the status; gives the exit code. */
export const status = (given: DatabaseGiven & { readonly check: boolean }): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const found = yield* withRecord(settings, SeedStatus.status)
      yield* show(found, given.json, settings.database.shown)
      const code = given.check ? checkCode(found) : 0
      // The reason why a pipeline stops stands on stderr, where its log shows it.
      if (code !== 0)
        yield* terminal.err(
          code === exitCode("SeedsPending") ? toApply(found) : Option.getOrElse(nextStep("SeedsInconsistent"), () => "")
        )
      return code
    })
  )

/** Finds everything that can be wrong without a database; gives the exit code. */
export const check = (given: SourceGiven): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const source = yield* Settings.resolveSource(given)
      const found = yield* withoutRecord(source, SeedStatus.status)
      yield* given.json ? show(found, true, null) : refuseUnreadable(found.problems)
      if (!given.json) yield* writeLines(terminal, StatusLines.checkLines(terminal, found))
      return found.problems.length > 0 ? exitCode("SeedsInconsistent") : 0
    })
  )

/** Writes the document, with what has no place in it on stderr, or the lines. */
const show = (found: Status, json: boolean, database: string | null) =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    yield* refuseUnreadable(found.problems)
    // A problem of no seed in particular has no place in the document.
    const others = json ? found.problems.filter(({ id }) => id === null) : []
    yield* Effect.forEach(others, ({ message }) => terminal.err(`problem: ${message}`), { discard: true })
    const notes = json ? found.seeds.flatMap(StatusLines.noteOf) : []
    yield* Effect.forEach(notes, terminal.err, { discard: true })
    if (!json) return yield* writeLines(terminal, StatusLines.statusLines(terminal, found))
    const { statusDocument } = yield* Effect.promise(LoadOnDemand.load)
    yield* terminal.out(statusDocument(found, database))
  })

/** The next step: what was interrupted half-way is not run again by itself, unless it is idempotent. */
const toApply = ({ seeds }: Status): string => {
  const [first, ...others] = seeds.filter(({ state }) => state === "interrupted").map(({ id }) => id)
  const apply = Option.getOrElse(nextStep("SeedsPending"), () => "")
  if (first === undefined) return apply
  const names = [first, ...others].map((id) => `"${id}"`).join(" and ")
  return `${apply} It refuses what was interrupted half-way, ${names}, unless that is idempotent: ${afterInterruption(first)}.`
}

const checkCode = ({ counts, problems }: Status): number => {
  if (problems.length > 0) return exitCode("SeedsInconsistent")
  return counts.pending + counts.late + counts.interrupted > 0 ? exitCode("SeedsPending") : 0
}
