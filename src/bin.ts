#!/usr/bin/env node
/**
 * The edge: chooses the program and starts it. Start-up of `seed:status` as a multiple of a script with the bare driver (Node 20): linked
 * 6.0, whole 2.5; of `--version` as a multiple of `node -e 0`: 9.8 and 1.0.
 */
import { existsSync } from "node:fs"
import process from "node:process"
import * as Program from "./cli/process/Program.js"

const program = Program.choose(process.argv.slice(2), existsSync)

if (program === "version") {
  process.stdout.once("error", ({ code, message }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") return
    process.stderr.write(`error: the results could not be written: ${message}\n`)
    process.exitCode = 1
  })
  process.stdout.write(`${Program.version}\n`)
} else {
  // Loading takes a moment, in which a signal is noted: the program ends by it in order, with what it says of an end.
  const early: Array<Program.Signal> = []
  const note = (signal: Program.Signal) => early.push(signal)
  for (const signal of Program.signals) process.on(signal, note)
  // The build makes the whole program of the linked one, hence from where the compiler does not look.
  const path = program === "whole" ? "./whole/Process.js" : "./cli/process/Process.js"
  const { start }: { readonly start: (early: ReadonlyArray<Program.Signal>) => void } = await import(path)
  start(early)
  // Last, as a signal that was caught and not told yet is lost when nobody listens for a moment.
  for (const signal of Program.signals) process.off(signal, note)
}
