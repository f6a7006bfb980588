/**
 * The declaration of a command: its words, and the action that it chooses.
 */
import * as Command from "@effect/cli/Command"
import type * as Effect from "effect/Effect"
import type { CommonGiven } from "../input/CommandOptions.js"
import * as CommandReader from "../input/CommandReader.js"
import type { Terminal } from "../output/Terminal.js"

/** The action of a command line; it gives the exit code. */
export type Action = Effect.Effect<number, never, Terminal>

/** Called with the options and the action of the command that is read. */
export type Choose = (given: CommonGiven, action: Action) => Effect.Effect<void>

/** Gives a command its description: what it does, and how it is typed. */
export const described = (about: string, example: string) =>
  Command.withDescription(CommandReader.descriptionText(about, example))
