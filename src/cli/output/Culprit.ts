/**
 * Whose code it is that may end the process of the command, or throws where nobody catches it: a seed's, or that of a projection, subscriber,
 * aggregate or backfill. It is asked when nothing asynchronous happens any more.
 */
import { argv } from "node:process"

/** The commands of seeds run seeds, and nothing else of the application's that could do that; the others run no seed. */
const isSeed = (argv[2] ?? "").startsWith("seed:")

/** What a message calls it. */
export const name = isSeed ? "a seed" : "the application's code"

/** The tag of an error that it did not handle. */
export const unhandledTag = isSeed ? "SeedFailed" : "Unhandled"

/** What to do when the process has ended before its command did. */
export const nextStep = isSeed
  ? "es-ops seed:status says what is applied"
  : "es-ops runs shows what has not ended, and the same command goes on with it"
