/**
 * The listing of seeds: the modules of a directory, or a record of values.
 */
import type { Dirent } from "node:fs"
import { readdir } from "node:fs"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { order } from "../../operation/AppliedOperations.js"
import { describe } from "../../operation/ErrorDescription.js"
import { OperationId } from "../../operation/Operation.js"
import type * as Seed from "../Seed.js"
import { SeedProblem } from "../SeedProblem.js"
import type { Recorded, SeedEntry } from "./SeedEntry.js"
import { FileEntry, inOrder, recordEntries } from "./SeedEntry.js"

/** What a source has: seeds in the order of their ids, what is wrong with it, and what a person should know. */
export interface Discovery {
  readonly entries: ReadonlyArray<SeedEntry>
  readonly problems: ReadonlyArray<SeedProblem>
  readonly warnings: ReadonlyArray<string>
  /** The ids alone, in any order; given where nothing can be wrong but that two are the same. A boot that has nothing to do needs no more. */
  readonly ids?: ReadonlyArray<string> | undefined
}

/** What lists seeds, each time anew. */
export interface Listed {
  /** Lists the seeds, without loading any. */
  readonly discover: Effect.Effect<Discovery>
}

const listFolder = promisify(readdir)

const taken = new Set([".ts", ".mts", ".js", ".mjs"])
const notTaken = new Set([".cts", ".cjs", ".tsx", ".jsx"])
/** Every file name is an id. */
const unchecked = { disableValidation: true }

const notSeeds = /\.d\.m?ts$|\.(?:test|spec)\.[^.]+$/

/**
 * The modules of a directory, not of folders in it: `.ts`, `.mts`, `.js`, `.mjs`, without `_*`, `.*`, declarations and tests. The path is
 * resolved against the working directory. Services that the seeds need are taken from the context.
 */
export const ofDirectory = <R = never>(directory: string): Effect.Effect<Listed, never, R> =>
  Effect.map(Effect.context<R>(), (services) => {
    const root = resolve(directory)
    return {
      discover: Effect.tryPromise({
        try: () => listFolder(root, { withFileTypes: true }),
        catch: (error) => error
      }).pipe(
        Effect.map((files) => discoverFiles(root, files, services)),
        Effect.catchAll((error) => Effect.succeed(unreadable(root, error)))
      )
    }
  })

/** Seeds by their ids, for a bundled application and for tests. */
export const ofRecord = <S extends Recorded>(
  seeds: Readonly<Record<string, S>>
): Effect.Effect<Listed, never, Seed.Services<S>> =>
  Effect.map(Effect.context<Seed.Services<S>>(), (services) => {
    const entries = () => recordEntries(united(seeds), services)
    // In a later turn of the event loop: the query that is started at the same time is sent first.
    const discover = Effect.async<Discovery>((resume) => {
      setImmediate(() =>
        resume(
          Effect.sync(() =>
            "" in seeds
              ? { entries: entries(), problems: [unnamed()], warnings: [] }
              : new Listing(Object.keys(seeds), [], entries)
          )
        )
      )
    })
    return { discover }
  })

const unnamed = () =>
  new SeedProblem({ _tag: "InvalidSeed", id: null, path: 'seeds[""]', message: "a seed has an empty id" })

/** Seeds of several types as seeds of their union, which each of them is. */
function united<S extends Recorded>(
  seeds: Readonly<Record<string, S>>
): Readonly<Record<string, Recorded<Seed.Services<S>>>>
function united(seeds: Readonly<Record<string, Recorded>>): Readonly<Record<string, Recorded>> {
  return seeds
}

/** A listing whose entries are made when they are first asked for: a boot that has nothing to do compares the ids alone. */
class Listing implements Discovery {
  private made: ReadonlyArray<SeedEntry> | undefined

  constructor(
    readonly ids: ReadonlyArray<string>,
    readonly warnings: ReadonlyArray<string>,
    private readonly make: () => ReadonlyArray<SeedEntry>
  ) {}

  get entries(): ReadonlyArray<SeedEntry> {
    return (this.made ??= this.make())
  }

  get problems(): ReadonlyArray<SeedProblem> {
    const { entries } = this
    const twice = entries.filter(({ id }, at) => id === entries[at + 1]?.id && id !== entries[at - 1]?.id)
    return twice.map(({ id }) =>
      duplicate(
        id,
        entries.filter((entry) => entry.id === id)
      )
    )
  }
}

/** The seeds among the files of a folder. */
const discoverFiles = <R>(root: string, files: ReadonlyArray<Dirent>, services: Context.Context<R>): Discovery => {
  const names: Array<string> = []
  const ids: Array<string> = []
  const warnings: Array<string> = []
  for (const file of files) {
    const { name } = file
    const dot = name.lastIndexOf(".")
    const isHidden = name.startsWith("_") || name.startsWith(".")
    // Only a name with another dot can be that of a declaration or a test.
    if (dot === -1 || isHidden || (name.indexOf(".") < dot && notSeeds.test(name)) || file.isDirectory()) continue
    const extension = name.slice(dot)
    if (taken.has(extension)) {
      names.push(name)
      ids.push(name.slice(0, dot))
    } else if (notTaken.has(extension))
      warnings.push(`${join(root, name)} is not taken for a seed: seeds are .ts, .mts, .js or .mjs`)
  }
  const entryOf = (name: string, at: number) =>
    new FileEntry(OperationId.make(ids[at] ?? "", unchecked), root, name, services)
  return new Listing(ids, warnings.toSorted(order), () => inOrder(names.map(entryOf), ids))
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
  const reason = code === "ENOTDIR" ? "it is not a folder" : message
  const text =
    code === "ENOENT"
      ? `the seeds folder ${root} does not exist: create it, or name another`
      : `the seeds folder ${root} cannot be read: ${reason}`
  return { ...empty, problems: [new SeedProblem({ _tag: "SeedSourceError", id: null, path: root, message: text })] }
}
