/**
 * Which of the programs a command line needs, decided before any of them is loaded: loading takes longer than most of their work.
 */

/** The version of the command. */
export const version = "0.1.0"

/** The signals that end the command in order. */
export const signals = ["SIGINT", "SIGTERM"] as const

export type Signal = (typeof signals)[number]

/** How it ends then: 128 and the number of the signal. */
export const exitCodes: { readonly [signal in Signal]: number } = { SIGINT: 130, SIGTERM: 143 }

/** The names of the command's file, of which the first that is there counts. */
export const configFiles: ReadonlyArray<string> = [
  "es-ops.config.ts",
  "es-ops.config.mts",
  "es-ops.config.js",
  "es-ops.config.mjs"
]

/**
 * `version`: nothing but the version. `whole`: one file with all its libraries in it. `linked`: modules that share the `effect` of the
 * project, which whatever runs an effect or a layer of the project's own must do, as a second copy of it is not the same library.
 */
export type Program = "version" | "whole" | "linked"

/** The program for the words after the script; `exists` tells whether a file is in the working directory. */
export const choose = (words: ReadonlyArray<string>, exists: (name: string) => boolean): Program => {
  if (words.length === 1 && words[0] === "--version") return "version"
  const runs = words[0] === "seed:apply" || words.some((word) => /^--config(=|$)/.test(word))
  return runs || configFiles.some(exists) ? "linked" : "whole"
}
