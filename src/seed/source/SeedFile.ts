/**
 * A new seed as a file: its name by the date, and a template that passes every check as it stands.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { existsSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { describe } from "../../operation/ErrorDescription.js"
import { order } from "../../operation/AppliedOperations.js"
import { SeedsInconsistent } from "../SeedProblem.js"
import { refuseUnreadable } from "../SeedRefusal.js"
import * as SeedSource from "./SeedSource.js"
import { idOf, slugOf, template } from "./SeedTemplate.js"

/** Nothing of the name can be used, or the file is there already. Nothing was written. */
export class SeedNotCreated extends Schema.TaggedError<SeedNotCreated>()("SeedNotCreated", { reason: Schema.String }) {
  override get message(): string {
    return this.reason
  }
}

/** The file that was written. */
export interface Created {
  readonly id: string
  readonly path: string
  /** Seeds that sort after the new one: it will be late once they are applied. */
  readonly before: ReadonlyArray<string>
}

/** Writes a new seed into the folder, which is created if it is missing. A file that exists is never overwritten. */
export const create = (directory: string, name: string): Effect.Effect<Created, SeedNotCreated | SeedsInconsistent> =>
  Effect.gen(function* () {
    const slug = slugOf(name)
    if (slug === "") {
      return yield* new SeedNotCreated({ reason: `"${name}" has none of a-z and 0-9 to make a file name of` })
    }
    const folder = resolve(directory)
    const source = existsSync(folder) ? SeedSource.layerDirectory(folder) : SeedSource.layerRecord<never>({})
    const { entries, problems } = yield* Effect.flatMap(SeedSource.SeedSource, ({ discover }) => discover).pipe(
      Effect.provide(source)
    )
    yield* refuseUnreadable(problems)
    const ids = entries.map((entry): string => entry.id)
    const id = idOf(slug, yield* DateTime.now, ids)
    const path = join(folder, `${id}.ts`)
    const taken = entries.find((entry) => entry.id === id)
    if (taken !== undefined) return yield* exists(taken.path)
    yield* Effect.tryPromise({
      try: async () => {
        await mkdir(folder, { recursive: true })
        await writeFile(path, template(slug.replaceAll("-", " ")), { flag: "wx" })
      },
      catch: (error) => notWritten(path, error)
    })
    return { id, path, before: ids.filter((other) => order(id, other) < 0) }
  }).pipe(Effect.withSpan("SeedFile.create"))

const exists = (path: string): SeedNotCreated =>
  new SeedNotCreated({ reason: `${path} is there already; it was left as it is` })

const notWritten = (path: string, error: unknown): SeedNotCreated | SeedsInconsistent => {
  const { code, message } = describe(error)
  if (code === "EEXIST") return exists(path)
  return SeedsInconsistent.of({
    _tag: "SeedSourceError",
    id: null,
    path,
    message: `${path} cannot be written: ${message}`
  })
}
