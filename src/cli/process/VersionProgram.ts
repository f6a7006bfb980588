/**
 * The program of `--version`, which loads nothing but the version.
 */
import process from "node:process"
import { version } from "../Version.js"

/** Prints the version. A reader that closes the pipe is no failure; a disk that is full is one. */
export const run = (): void => {
  process.stdout.once("error", ({ code, message }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") return
    process.stderr.write(`error: the results could not be written: ${message}\n`)
    process.exitCode = 1
  })
  process.stdout.write(`${version}\n`)
}
