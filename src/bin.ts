#!/usr/bin/env node
/**
 * The edge: chooses the program of the command line, and starts it.
 */
import { existsSync } from "node:fs"
import process from "node:process"
import * as Peers from "./cli/process/Peers.js"
import * as Program from "./cli/process/Program.js"
import * as Signals from "./cli/process/Signals.js"
import * as VersionProgram from "./cli/process/VersionProgram.js"

const words = process.argv.slice(2)
const program = Peers.admit(Program.choose(words, existsSync, process.env), words, existsSync)

if (program === "version") VersionProgram.run()
else if (program !== undefined) {
  // Loading takes a moment. A signal that comes meanwhile is kept, so that the program ends in order and reports it.
  const early = Signals.keep()
  // The compiler does not see the whole program, as the build makes it of the linked one: hence a path that it does not follow.
  const path = program === "whole" ? "./whole/Process.js" : "./cli/process/Process.js"
  const loaded: { readonly start: (early: ReadonlyArray<Signals.Signal>) => Promise<void> } | undefined = await import(
    path
  ).catch((error: unknown) => Peers.refuseUnloaded(words, error))
  await loaded?.start(early.signals)
  // Last: a signal that was caught, but not delivered yet, is lost when nobody listens for a moment.
  early.release()
}
