/**
 * The packages that the command shares with the project, as they are installed. What is missing, or of another version, is told before any of
 * them is loaded: what the loader says of it is a stack. This file loads nothing but Node.
 */
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import type { Program } from "./Program.js"

/** A package that does not fit, and its version where there is one. */
export interface Misfit {
  readonly name: string
  readonly range: string
  readonly found: string | undefined
}

/** The packages that do not fit, by the ranges of the package that this file is in. */
export const misfits = (from = fileURLToPath(import.meta.url)): ReadonlyArray<Misfit> => {
  const { name, peerDependencies = {}, peerDependenciesMeta = {} } = read(manifestOf(from))
  // Ours may be missing beside a copy of the build: that of a stranger says nothing about us.
  if (name !== "effect-es-ops") return []
  return Object.entries(peerDependencies)
    .filter(([name]) => peerDependenciesMeta[name]?.optional !== true)
    .map(([name, range]) => ({ name, range, found: installed(name, from) }))
    .filter(({ found, range }) => found === undefined || !fits(found, range))
}

/** What does not fit, and the line to type. */
export const explanation = (found: ReadonlyArray<Misfit>, exists: (name: string) => boolean): string => {
  const others = found.flatMap(({ found: version, name, range }) =>
    version === undefined ? [] : [`${name} is ${version}, not ${range}`]
  )
  const missing = found.filter((misfit) => misfit.found === undefined).map(({ name }) => name)
  const reasons = missing.length === 0 ? others : [...others, `missing: ${missing.join(", ")}`]
  const names = found.map(({ name, range }) => `${name}@${lineOf(range)}`)
  return `effect-es-ops does not work with the packages that are installed (${reasons.join("; ")}). Type: ${installer(exists)} ${names.join(" ")}`
}

/**
 * The program that can run with what is installed, if any can. What does not fit is said on stderr, and where nothing can run in the document
 * that `--json` asks for.
 */
export const admit = (
  program: Program,
  words: ReadonlyArray<string>,
  exists: (name: string) => boolean
): Program | undefined => {
  if (program !== "linked" && !loading.has(words[0] ?? "")) return program
  const found = misfits()
  if (found.length === 0) return program
  if (words.includes("--help") || words.includes("-h")) return "whole"
  const message = explanation(found, exists)
  if (words[0] === "doctor" && program !== "linked") {
    process.stderr.write(`warning: ${message}\n`)
    return program
  }
  return refuse(words, message)
}

/** Says why nothing can run, on stderr and in the document that `--json` asks for. */
const refuse = (words: ReadonlyArray<string>, message: string): undefined => {
  // A reader that closes the pipe is no failure.
  process.stdout.on("error", () => undefined)
  if (words.includes("--json")) process.stdout.write(`${document(words[0], message)}\n`)
  process.stderr.write(`error: ${message}\n`)
  process.exitCode = 4
  return undefined
}

/** Says that a program could not be loaded: packages of packages are missing, or have no files, which their manifests do not tell. */
export const refuseUnloaded = (words: ReadonlyArray<string>, error: unknown): undefined => {
  const [reason] = (error instanceof Error ? error.message : String(error)).split("\n")
  return refuse(
    words,
    `effect-es-ops cannot be loaded with the packages that are installed (${reason}). Install the packages of the project again`
  )
}

/** The commands that load seeds in a program of their own. A doctor looks at the database all the same. */
const loading = new Set(["seed:check", "seed:status", "seed:mark", "doctor"])

const document = (command: string | undefined, message: string): string => {
  const error = { _tag: "SettingError", message }
  const applied = {
    schemaVersion: 1,
    applied: [],
    skipped: [],
    raced: [],
    failed: { id: null, error: { ...error, cause: null } }
  }
  return JSON.stringify(
    command === "seed:apply" ? { ...applied, notAttempted: [], dryRun: false, skippedAll: null } : { error },
    null,
    2
  )
}

interface Manifest {
  readonly name?: string
  readonly version?: string
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean } | undefined>>
}

const read = (path: string): Manifest => {
  try {
    const manifest: Manifest = JSON.parse(readFileSync(path, "utf8"))
    return manifest
  } catch {
    return {}
  }
}

/** The manifest of the package that a file is in. */
const manifestOf = (file: string): string => {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const path = join(folder, "package.json")
    if (existsSync(path) || folder === dirname(folder)) return path
  }
}

/** The version of a package as Node finds it; by Node's own resolution where there are no folders of packages. */
const installed = (name: string, from: string): string | undefined => {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const path = join(folder, "node_modules", name, "package.json")
    if (existsSync(path)) return read(path).version
    if (folder === dirname(folder)) break
  }
  try {
    return read(createRequire(from).resolve(`${name}/package.json`)).version
  } catch {
    return undefined
  }
}

const numbersOf = (version: string): readonly [number, number, number] => {
  const [, major = "0", minor = "0", patch = "0"] = /(\d+)\.(\d+)\.(\d+)/.exec(version) ?? []
  return [Number(major), Number(minor), Number(patch)]
}

/** Whether a version is in a range such as ^3.22.0 or ^0.97.0. */
export const fits = (version: string, range: string): boolean => {
  const [[major, minor, patch], [least, leastMinor, leastPatch]] = [numbersOf(version), numbersOf(range)]
  if (major !== least) return false
  if (minor !== leastMinor) return major > 0 && minor > leastMinor
  return patch >= leastPatch
}

/** The range as it is typed, without what a shell may take for its own. */
const lineOf = (range: string): string => {
  const [major, minor] = numbersOf(range)
  return major > 0 ? `${major}` : `0.${minor}`
}

/** By the lock file, which is that of the folder or of one above it: of a workspace. */
const installer = (exists: (name: string) => boolean): string => {
  for (let folder = process.cwd(), up = ""; ; folder = dirname(folder), up += "../") {
    const [, command] = installers.find(([lock]) => exists(`${up}${lock}`)) ?? []
    if (command !== undefined) return command
    if (folder === dirname(folder)) return "npm install"
  }
}

const installers = [
  ["package-lock.json", "npm install"],
  ["pnpm-lock.yaml", "pnpm add"],
  ["yarn.lock", "yarn add"],
  ["bun.lock", "bun add"],
  ["bun.lockb", "bun add"]
] as const
