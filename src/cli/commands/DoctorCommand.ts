/**
 * `doctor`: finds what keeps seeds from being applied, and what to do about it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as EsOps from "../../EsOps.js"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { wrong } from "../../operation/HealthFinding.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as ProjectionFindings from "../../projection/ProjectionFindings.js"
import * as SeedDoctor from "../../seed/record/SeedDoctor.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import { findingLines } from "../output/DoctorLines.js"
import * as Documents from "../output/Documents.js"
import { exitCode } from "../output/ExitCode.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase, withoutDatabase } from "./CommandSession.js"
import * as SeedFindings from "../../seed/record/SeedFindings.js"

export const options = databaseOptions

/** Shows the findings; gives the exit code. */
export const run = (given: DatabaseGiven): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const without = (error: DatabaseError | EsOps.EmbeddedInUse) =>
        Effect.map(withoutDatabase(settings, SeedFindings.examineSource), (seeds) => [unreachable(error), ...seeds])
      const found = yield* withDatabase(settings, examine).pipe(
        Effect.catchTags({ DatabaseError: without, EmbeddedInUse: without })
      )
      yield* given.json
        ? terminal.out(Documents.encode(SeedDocument.DoctorDocument, Documents.ofFindings(found)))
        : writeLines(terminal, findingLines(terminal, found))
      return codeOf(found)
    })
  )

const examine = Effect.zipWith(SeedDoctor.examine, ProjectionFindings.examine, (found, more) => [...found, ...more])

/** The finding that stands in for those of a database that cannot be reached; the seeds are examined without it. */
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
