/**
 * The names of the command's config file in the working directory. They load nothing, as the choice of the program reads them first.
 */

/** In the order of preference: the first that is there counts. */
export const configFileNames: ReadonlyArray<string> = [
  "es-ops.config.ts",
  "es-ops.config.mts",
  "es-ops.config.js",
  "es-ops.config.mjs"
]
