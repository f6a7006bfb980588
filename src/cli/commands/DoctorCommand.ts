/**
 * `doctor`: everything that can be found before seeds are applied, with what to do about it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { wrong } from "../../operation/DatabaseHealth.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import * as SeedDoctor from "../../seed/record/SeedDoctor.js"
import type * as EsOps from "../../EsOps.js"
import * as Documents from "../output/Documents.js"
import { exitCode } from "../output/Failure.js"
import * as Report from "../output/Report.js"
import { withDatabase, withoutDatabase } from "./CommandSession.js"
import * as Settings from "../input/Settings.js"
import { Terminal } from "../output/Terminal.js"

export const options = Settings.databaseOptions

/** Shows the findings; gives the exit code. */
export const run = (given: Settings.DatabaseGiven): Effect.Effect<number, never, Terminal> =>
  Report.command(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const without = (error: DatabaseError | EsOps.EmbeddedInUse) =>
        Effect.map(withoutDatabase(settings, SeedDoctor.examineSource), (seeds) => [unreachable(error), ...seeds])
      const found = yield* withDatabase(settings, SeedDoctor.examine).pipe(
        Effect.catchTags({ DatabaseError: without, EmbeddedInUse: without })
      )
      yield* given.json
        ? terminal.out(Documents.encode(SeedDocument.DoctorDocument, Documents.ofFindings(found)))
        : Effect.forEach(lines(terminal, found), terminal.out, { discard: true })
      return codeOf(found)
    })
  )

/** Without the database the seeds are looked at all the same. */
const unreachable = (error: DatabaseError | EsOps.EmbeddedInUse): Finding =>
  wrong("connection", "database", error.message, fixOf(error))

const fixOf = (error: DatabaseError | EsOps.EmbeddedInUse): string => {
  if (error._tag === "EmbeddedInUse") return "Wait for that process to end."
  return error.connectionLost ||
    Option.contains(error.code, "3D000") ||
    Option.exists(error.code, (code) => code.startsWith("28"))
    ? "See that the server runs and takes connections, and that DATABASE_URL names it."
    : "See what the server says about it."
}

const codeOf = (found: ReadonlyArray<Finding>): number => {
  if (found.some(({ fault }) => fault === "database")) return exitCode("DatabaseError")
  return found.some(({ fault }) => fault === "state") ? exitCode("SeedsInconsistent") : 0
}

const lines = ({ paint }: Terminal["Type"], found: ReadonlyArray<Finding>): ReadonlyArray<string> => {
  const wrongs = found.filter(({ fault }) => fault !== "none").length
  const width = Math.max(...found.map(({ name }) => name.length)) + 2
  const mark = ({ fault }: Finding) => (fault === "none" ? paint("green", "ok   ") : paint("red", "wrong"))
  return [
    ...found.flatMap((finding) => [
      `${mark(finding)} ${finding.name.padEnd(width)}${below(finding.detail, width)}`,
      ...Option.toArray(finding.fix).map((fix) => `      ${"".padEnd(width)}${paint("dim", `→ ${below(fix, width)}`)}`)
    ]),
    wrongs === 0 ? "Nothing is wrong." : `${wrongs} of ${found.length} need a look.`
  ]
}

const below = (text: string, width: number): string => text.replaceAll("\n", `\n${"".padEnd(width + 6)}`)
