/**
 * Where seeds come from: a directory of modules, or a record of values.
 */
import type { Dirent } from "node:fs"
import { readdir, readFile } from "node:fs"
import { join, resolve, sep } from "node:path"
import { createHash } from "node:crypto"
import { promisify } from "node:util"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { describe } from "../operation/Attempt.js"
import * as ModuleLoader from "./ModuleLoader.js"
import { OperationId, order } from "../operation/Operation.js"
import type { Seed } from "./Seed.js"
import * as SeedModule from "./Seed.js"
import { SeedProblem } from "./SeedProblem.js"

/** A seed by its name, not loaded yet. */
export interface SeedEntry {
  readonly id: OperationId
  /** Where it came from. */
  readonly path: string
  /** Its text, where it has one. */
  readonly source: Effect.Effect<Option.Option<string>, SeedProblem>
  /** Begins to read it, for whoever is going to ask for many. */
  readonly prefetch?: (() => void) | undefined
  /** The seed itself; running a module's top level may have effects. */
  readonly load: Effect.Effect<Seed, SeedProblem>
}

/** What a source has: seeds in the order of their ids, what is wrong with it, and what a person should know. */
export interface Discovery {
  readonly entries: ReadonlyArray<SeedEntry>
  readonly problems: ReadonlyArray<SeedProblem>
  readonly warnings: ReadonlyArray<string>
}

/** The port of seeds: a directory, a record, or whatever an application has. */
export class SeedSource extends Context.Tag("effect-es-ops/SeedSource")<
  SeedSource,
  {
    /** Lists the seeds, without loading any. */
    readonly discover: Effect.Effect<Discovery>
  }
>() {}

/** Those of `node:fs/promises` take six times as long for a small file. */
const readText = promisify(readFile)
const listFolder = promisify(readdir)

const taken = /.\.m?[tj]s$/
const notTaken = /.\.(?:c[tj]s|[tj]sx)$/
const notSeeds = /\.d\.m?ts$|\.(?:test|spec)\.[^.]+$/

/**
 * The modules of a directory, not of folders in it: `.ts`, `.mts`, `.js`, `.mjs`, without `_*`, `.*`, declarations and tests. The path is
 * resolved against the working directory. Services that the seeds need are taken from the layer's context.
 */
export const layerDirectory = <R = never>(directory: string): Layer.Layer<SeedSource, never, R> =>
  Layer.effect(
    SeedSource,
    Effect.map(Effect.context<R>(), (services) => {
      const root = resolve(directory)
      return SeedSource.of({
        discover: Effect.tryPromise({
          try: () => listFolder(root, { withFileTypes: true }),
          catch: (error) => error
        }).pipe(
          Effect.map((files) => discoverFiles(root, files, services)),
          Effect.catchAll((error) => Effect.succeed(unreadable(root, error)))
        )
      })
    })
  )

/** A seed as a value, or a function that imports its module. */
export type Recorded<R = unknown> = Seed<unknown, R> | (() => Promise<unknown>)

/** Seeds by their ids, for a bundled application and for tests. */
export const layerRecord = <S extends Recorded>(
  seeds: Readonly<Record<string, S>>
): Layer.Layer<SeedSource, never, SeedModule.Services<S>> =>
  Layer.effect(
    SeedSource,
    Effect.map(Effect.context<SeedModule.Services<S>>(), (services) => {
      const named = Object.entries(united(seeds)).filter(([name]) => name !== "")
      const entries = named.map(
        ([name, value]) => new RecordEntry(OperationId.make(name, { disableValidation: true }), value, services)
      )
      const problems = "" in seeds ? [unnamed] : []
      return SeedSource.of({ discover: Effect.succeed({ entries: inOrder(entries), problems, warnings: [] }) })
    })
  )

const unnamed = new SeedProblem({ _tag: "InvalidSeed", id: null, path: 'seeds[""]', message: "a seed has an empty id" })

/** Seeds of several types as seeds of their union, which each of them is. */
function united<S extends Recorded>(
  seeds: Readonly<Record<string, S>>
): Readonly<Record<string, Recorded<SeedModule.Services<S>>>>
function united(seeds: Readonly<Record<string, Recorded>>): Readonly<Record<string, Recorded>> {
  return seeds
}

/** The hash of a seed's text, line endings normalised: SHA-256, hexadecimal. */
export const hashOf = (source: string): string =>
  createHash("sha256").update(source.replaceAll("\r\n", "\n")).digest("hex")

/** File names come sorted from the file system, and their stems nearly so. */
const inOrder = (entries: ReadonlyArray<SeedEntry>): ReadonlyArray<SeedEntry> =>
  entries.every(({ id }, at) => at === 0 || order(entries[at - 1]?.id ?? "", id) <= 0)
    ? entries
    : entries.toSorted((a, b) => order(a.id, b.id))

/** One pass and no object but the entry: 10,000 files are listed in less than twice the time that the file system takes. */
const discoverFiles = <R>(root: string, files: ReadonlyArray<Dirent>, services: Context.Context<R>): Discovery => {
  const entries: Array<SeedEntry> = []
  const warnings: Array<string> = []
  for (const file of files) {
    const { name } = file
    const dot = name.lastIndexOf(".")
    // Only a name with another dot can be that of a declaration or a test.
    if (/^[_.]/.test(name) || (name.indexOf(".") < dot && notSeeds.test(name)) || file.isDirectory()) continue
    if (taken.test(name)) {
      const id = OperationId.make(name.slice(0, dot), { disableValidation: true })
      entries.push(new FileEntry(id, `${root}${sep}${name}`, services))
    } else if (notTaken.test(name))
      warnings.push(`${join(root, name)} is not taken for a seed: seeds are .ts, .mts, .js or .mjs`)
  }
  const sorted = inOrder(entries)
  const twice = sorted.filter(({ id }, at) => id === sorted[at + 1]?.id && id !== sorted[at - 1]?.id)
  const problems = twice.map(({ id }) =>
    duplicate(
      id,
      sorted.filter((entry) => entry.id === id)
    )
  )
  return { entries: sorted, problems, warnings: warnings.toSorted(order) }
}

const duplicate = (id: OperationId, same: ReadonlyArray<SeedEntry>): SeedProblem => {
  const paths = same.map(({ path }) => path).toSorted(order)
  return new SeedProblem({
    _tag: "DuplicateSeedId",
    id,
    path: paths[0] ?? null,
    message: `${paths.join(" and ")} are both the seed "${id}": rename or remove all but one`
  })
}

const unreadable = (root: string, error: unknown): Discovery => {
  const { code, message } = describe(error)
  const empty = { entries: [], problems: [], warnings: [] }
  if (code === "ENOENT") {
    return { ...empty, warnings: [`the seeds folder ${root} does not exist, so there are no seeds`] }
  }
  const reason = code === "ENOTDIR" ? "it is not a folder" : message
  const text = `the seeds folder ${root} cannot be read: ${reason}`
  return { ...empty, problems: [new SeedProblem({ _tag: "SeedSourceError", id: null, path: root, message: text })] }
}

/** A file, of which nothing is read before it is asked for, and that once. */
class FileEntry<R> implements SeedEntry {
  private read: Promise<string> | undefined

  constructor(
    readonly id: OperationId,
    readonly path: string,
    private readonly services: Context.Context<R>
  ) {}

  prefetch(): void {
    this.read ??= readText(this.path, "utf8")
    // Whoever asks for the text is told.
    this.read.catch(() => undefined)
  }

  private get text(): Effect.Effect<string, SeedProblem> {
    return Effect.tryPromise({
      try: () => (this.read ??= readText(this.path, "utf8")),
      catch: (error) => importError(this.id, this.path, describe(error).message)
    })
  }

  get source(): SeedEntry["source"] {
    return Effect.asSome(this.text)
  }

  get load(): SeedEntry["load"] {
    const { id, path, services } = this
    return Effect.flatMap(this.text, (source) =>
      Effect.tryPromise({
        // The module cache knows a file by its URL: another text needs another one.
        try: () => ModuleLoader.load(path, hashOf(source).slice(0, 16)),
        catch: (error) => {
          const line = ModuleLoader.failedLine(path, source, error)
          return importError(id, path, `${line === undefined ? "" : `line ${line}: `}${describe(error).message}`)
        }
      })
    ).pipe(Effect.flatMap((module) => checked(id, path, SeedModule.fromModule(module), services)))
  }
}

/** A value, of which nothing is made before it is asked for. */
class RecordEntry<R> implements SeedEntry {
  readonly source: SeedEntry["source"] = Effect.succeedNone

  constructor(
    readonly id: OperationId,
    private readonly value: Recorded<R>,
    private readonly services: Context.Context<R>
  ) {}

  get path(): string {
    return `seeds["${this.id}"]`
  }

  get load(): SeedEntry["load"] {
    const { id, path, services, value } = this
    return Predicate.isFunction(value)
      ? Effect.tryPromise({ try: value, catch: (error) => importError(id, path, describe(error).message) }).pipe(
          Effect.flatMap((module) => checked(id, path, SeedModule.fromModule(module), services))
        )
      : checked(id, path, Either.right(value), services)
  }
}

const checked = <R>(
  id: OperationId,
  path: string,
  decoded: Either.Either<Seed<unknown, R>, string>,
  services: Context.Context<R>
): Effect.Effect<Seed, SeedProblem> =>
  Either.match(decoded, {
    onLeft: (reason) =>
      Effect.fail(new SeedProblem({ _tag: "InvalidSeed", id, path, message: `${path} is not a seed: ${reason}` })),
    onRight: (seed) => Effect.succeed(SeedModule.provide(seed, services))
  })

const importError = (id: OperationId, path: string, reason: string): SeedProblem =>
  new SeedProblem({ _tag: "SeedImportError", id, path, message: `${path} cannot be loaded: ${reason}` })
