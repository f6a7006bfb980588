/**
 * A seed by its name, in a file or as a value. Nothing of it is read or made before it is asked for.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { describe } from "../../operation/ErrorDescription.js"
import { OperationId } from "../../operation/Operation.js"
import { areRising, order } from "../../operation/AppliedOperations.js"
import * as ModuleLoader from "./ModuleLoader.js"
import type { Plain, Seed } from "../Seed.js"
import * as SeedModule from "../SeedModule.js"
import { SeedProblem } from "../SeedProblem.js"

/** A seed by its name, not loaded yet. */
export interface SeedEntry {
  readonly id: OperationId
  /** Where it came from. */
  readonly path: string
  /** Its text, where it has one. */
  readonly source: Effect.Effect<Option.Option<string>, SeedProblem>
  /** The seed itself; running a module's top level may have effects. */
  readonly load: Effect.Effect<Seed, SeedProblem>
}

/** A seed as a value, made by `Seed.make` or a plain object with an async function, or a function that imports its module. */
export type Recorded<R = unknown> = Seed<unknown, R> | Plain | (() => Promise<unknown>)

/** The hash of a text, line endings normalised: SHA-256, hexadecimal. */
export const textHashOf = (source: string): string =>
  createHash("sha256").update(source.replaceAll("\r\n", "\n")).digest("hex")

/** A seed in a file, which is read when its text is first asked for, and only once. */
export class FileEntry<R> implements SeedEntry {
  private read: string | undefined

  constructor(
    readonly id: OperationId,
    private readonly folder: string,
    private readonly name: string,
    private readonly services: Context.Context<R>
  ) {}

  get path(): string {
    return join(this.folder, this.name)
  }

  /** Read synchronously: the files are small, and each is waited for in any case. */
  private text(): string {
    return (this.read ??= readFileSync(this.path, "utf8"))
  }

  get source(): SeedEntry["source"] {
    return Effect.try({
      try: () => Option.some(this.text()),
      catch: (error) => importError(this.id, this.path, describe(error).message)
    })
  }

  get load(): SeedEntry["load"] {
    const { id, path, services } = this
    let source = ""
    return Effect.tryPromise({
      try: async () => {
        source = this.text()
        // The module cache knows a file by its URL: another text needs another one.
        return ModuleLoader.load(path, textHashOf(source).slice(0, 16))
      },
      catch: (error) => {
        const line = ModuleLoader.failedLine(path, source, error)
        return importError(id, path, `${line === undefined ? "" : `line ${line}: `}${describe(error).message}`)
      }
    }).pipe(Effect.flatMap((module) => checked(id, path, SeedModule.fromModule(module), services)))
  }
}

/** A seed as a value, or as a function that imports one. */
export class RecordEntry<R> implements SeedEntry {
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
      ? Effect.tryPromise({
          try: async () => value(),
          catch: (error) => importError(id, path, describe(error).message)
        }).pipe(Effect.flatMap((module) => checked(id, path, SeedModule.fromModule(module), services)))
      : checked(id, path, SeedModule.fromExport(value), services)
  }
}

/** Values by their ids, in the order of the ids. An empty id is none. */
export const recordEntries = <R>(
  seeds: Readonly<Record<string, Recorded<R>>>,
  services: Context.Context<R>
): ReadonlyArray<SeedEntry> => {
  const entries: Array<SeedEntry> = []
  for (const [name, value] of Object.entries(seeds)) {
    if (name !== "") entries.push(new RecordEntry(OperationId.make(name), value, services))
  }
  return inOrder(
    entries,
    entries.map(({ id }) => id)
  )
}

/** The entries by their ids; most often they are in that order already. */
export const inOrder = (entries: ReadonlyArray<SeedEntry>, ids: ReadonlyArray<string>): ReadonlyArray<SeedEntry> =>
  areRising(ids) ? entries : entries.toSorted((a, b) => order(a.id, b.id))

const checked = <R>(
  id: OperationId,
  path: string,
  decoded: Either.Either<Seed<unknown, R>, string>,
  services: Context.Context<R>
): Effect.Effect<Seed, SeedProblem> =>
  Either.match(decoded, {
    onLeft: (reason) =>
      Effect.fail(new SeedProblem({ _tag: "InvalidSeed", id, path, message: `${path} is not a seed: ${reason}` })),
    onRight: (seed) => Effect.succeed(withServices(seed, services))
  })

/** The seed with services for what it requires; what it still lacks is a failure when it is run. The step's own services win. */
const withServices = <E, R>(seed: Seed<E, R>, services: Context.Context<R>): Seed<E> => ({
  ...seed,
  run: (context) =>
    Effect.mapInputContext(seed.run(context), (step: Context.Context<never>) => Context.merge(services, step))
})

const importError = (id: OperationId, path: string, reason: string): SeedProblem =>
  new SeedProblem({ _tag: "SeedImportError", id, path, message: `${path} cannot be loaded: ${reason}` })
