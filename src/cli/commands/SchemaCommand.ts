/**
 * `schema`: prints the statements that an administrator runs where the application's role may not create tables.
 */
import * as Effect from "effect/Effect"
import * as EsOps from "../../EsOps.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import type { CommonGiven } from "../input/CommandOptions.js"
import { commonOptions } from "../input/CommandOptions.js"
import * as ConfigFile from "../input/ConfigFile.js"
import * as Documents from "../output/Documents.js"
import { Terminal } from "../output/Terminal.js"
import * as CommandRun from "./CommandRun.js"

export const options = commonOptions

/** Prints the statements; gives the exit code. */
export const run = (given: CommonGiven): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const statements = yield* EsOps.ddl(yield* ConfigFile.load(given.config))
      yield* terminal.out(
        given.json
          ? Documents.encode(SeedDocument.SchemaDocument, { statements })
          : statements.map((statement) => `${statement};`).join("\n\n")
      )
      return 0
    })
  )
