/**
 * The program that a command line needs. It is chosen before any of them is loaded, as loading takes longer than most of their work: this file
 * loads nothing that is not chosen.
 */
import { configFileNames } from "../ConfigFileNames.js"

/**
 * `version`: nothing but the version. `whole`: one file with all its libraries in it. `linked`: modules that share the `effect` of the
 * project. Every command that runs an effect or a layer of the project needs the linked one: a second copy of `effect` is not the same
 * library.
 */
export type Program = "version" | "whole" | "linked"

/**
 * Chooses the program for the words after the script; `exists` says whether a file is in the working directory. Only the linked one can join a
 * cluster.
 */
export const choose = (
  words: ReadonlyArray<string>,
  exists: (name: string) => boolean,
  { ES_OPS_CLUSTER: cluster = "" }: Readonly<Record<string, string | undefined>> = {}
): Program => {
  if (words.length === 1 && words[0] === "--version") return "version"
  const isShared = words.includes("--cluster") || (cluster !== "" && inLanes.has(words[0] ?? ""))
  const runs = words[0] === "seed:apply" || isShared || words.some((word) => /^--config(=|$)/.test(word))
  return runs || configFileNames.some(exists) ? "linked" : "whole"
}

/** The commands whose work is in lanes. */
const inLanes = new Set(["projection:rebuild", "snapshot:rebuild", "event:replay", "event:backfill"])
