/**
 * `seed:new`: writes a seed file that passes every check.
 */
import * as Args from "@effect/cli/Args"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { relative } from "node:path"
import { cwd } from "node:process"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import * as SeedFile from "../../seed/source/SeedFile.js"
import { UsageError } from "../UsageError.js"
import type { SourceGiven } from "../input/CommandOptions.js"
import { sourceOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import { Terminal } from "../output/Terminal.js"
import * as CommandRun from "./CommandRun.js"

export const options = {
  ...sourceOptions,
  slug: Args.text({ name: "slug" }).pipe(Args.withDescription("What it does, in a few words: fill-display-names"))
}

/** Writes the file; gives the exit code. */
export const run = (given: SourceGiven & { readonly slug: string }): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const { seeds } = yield* Settings.resolveSource(given)
      if (!Predicate.isString(seeds)) {
        return yield* new UsageError({
          reason: "the config file names seeds one by one, not a folder: say --seeds <dir>"
        })
      }
      const { before, id, path } = yield* SeedFile.create(seeds, given.slug)
      if (before.length > 0) {
        yield* terminal.err(`warning: it sorts before ${before.join(", ")}: once that is applied, it is late`)
      }
      yield* terminal.out(
        given.json
          ? Documents.encode(SeedDocument.ChangeDocument, { id, path, changed: true })
          : `created ${relative(cwd(), path)}\nEdit it, then: es-ops seed:check`
      )
      return 0
    })
  )
