/**
 * The commands that look at the seeds: they are run often, and are to answer at once.
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import type { Choose } from "./Declaration.js"
import { described } from "./Declaration.js"
import * as StatusCommands from "./StatusCommands.js"

/** Their declarations, each made when it is asked for. */
export const declarations = (choose: Choose) => ({
  "seed:check": () =>
    Command.make("seed:check", StatusCommands.checkOptions, (given) => choose(given, StatusCommands.check(given))).pipe(
      described("Finds everything that can be wrong with the seeds without a database", "seed:check --json")
    ),
  "seed:status": () =>
    Command.make("seed:status", StatusCommands.statusOptions, (given) =>
      choose(given, StatusCommands.status(given))
    ).pipe(described("Shows every seed with its state", "seed:status --check"))
})

/** Whether one of them has this name. */
export const has = (name: string): name is keyof ReturnType<typeof declarations> =>
  Object.hasOwn(
    declarations(() => Effect.void),
    name
  )
