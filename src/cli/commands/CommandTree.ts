/**
 * The tree of the commands: of the one that is asked for, or of all where none is.
 */
import * as Command from "@effect/cli/Command"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Choose } from "./Declaration.js"
import * as LoadOnDemand from "./LoadOnDemand.js"
import * as SeedCommands from "./SeedCommands.js"

/** The names of the commands, in the order of help. */
export const names = [
  "seed:new",
  "seed:check",
  "seed:status",
  "seed:apply",
  "seed:mark",
  "seed:unmark",
  "seed:rename",
  "projection:status",
  "projection:rebuild",
  "projection:diff",
  "snapshot:verify",
  "snapshot:rebuild",
  "stream:move",
  "stream:archive",
  "stream:restore",
  "stream:purge",
  "event:replay",
  "event:backfill",
  "runs",
  "runs:cancel",
  "history",
  "schema",
  "doctor"
] as const

export type Name = (typeof names)[number]

/** Loads what the tree of the command of this name is made of. */
export const load = async (name: Option.Option<Name>): Promise<void> => {
  if (!Option.exists(name, SeedCommands.has)) await LoadOnDemand.load()
}

/** The tree of the command of this name, or of all; reading a command line calls `choose`. What it does not have is not loaded. */
export const make = (choose: Choose, name: Option.Option<Name>) =>
  Effect.map(declared(choose, name), (commands) => Command.make("es-ops").pipe(Command.withSubcommands(commands)))

const declared = (choose: Choose, name: Option.Option<Name>) =>
  Effect.gen(function* () {
    const seeds = SeedCommands.declarations(choose)
    if (Option.isSome(name) && SeedCommands.has(name.value)) return Arr.of(seeds[name.value]())
    const { declarations } = yield* Effect.promise(LoadOnDemand.load)
    const all = { ...seeds, ...declarations(choose) }
    return Arr.map(Option.isSome(name) ? Arr.of(name.value) : names, (known) => all[known]())
  })
