/**
 * The file of an export: written behind what is kept of it, and synced, before what it says is deleted.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { constants } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import { access, open as openFile, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { describe } from "../operation/ErrorDescription.js"
import { ExportExists, ExportFailed, ExportLost } from "./PurgeProblem.js"

/** An export that is open. All of it is called inside a batch, so that no other process writes the file meanwhile. */
export interface ExportFile {
  readonly path: string
  /** Begins a batch: what stands behind `length` was not deleted, and is cut off. */
  readonly cut: (length: number) => Effect.Effect<void, ExportFailed>
  /** Writes at the end. At the time of `asked` the batch was this process's still: one that stood still since then may have lost it. */
  readonly write: (bytes: Uint8Array, asked: number) => Effect.Effect<void, ExportFailed>
  /** Gives the length, once all of it would survive a crash of the machine. */
  readonly sync: Effect.Effect<number, ExportFailed>
}

/** What keeps a new export from being begun at this path. */
export const problemOf = (path: string): Effect.Effect<Option.Option<ExportExists | ExportFailed>> =>
  Effect.promise(async () => {
    if (await exists(path)) return Option.some(new ExportExists({ file: path }))
    try {
      const folder = dirname(path)
      await access(folder, constants.W_OK)
      return (await stat(folder)).isDirectory()
        ? Option.none()
        : Option.some(new ExportFailed({ file: path, reason: `${folder} is not a folder` }))
    } catch (error) {
      return Option.some(failed(path)(error))
    }
  })

/** What keeps an export from being gone on with. */
export const lossOf = (path: string, written: number): Effect.Effect<Option.Option<ExportLost>> =>
  Effect.promise(async () => {
    const found = await sizeOf(path)
    return found === null || found < written
      ? Option.some(new ExportLost({ file: path, written, found }))
      : Option.none()
  })

/** Creates a file that is not there. `orEmpty`: one that has nothing in it may be the one that this run created before it was killed. */
export const create = (
  path: string,
  orEmpty: boolean
): Effect.Effect<ExportFile, ExportExists | ExportFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const isTaken = orEmpty && (yield* Effect.promise(() => sizeOf(path))) === 0
    const handle = yield* opened(path, isTaken ? "r+" : "wx")
    yield* trying(path, async () => {
      await handle.sync()
      await syncFolder(dirname(path))
    })
    return make(path, handle)
  })

/** Opens the file of an unfinished run, of which so many bytes were kept. */
export const open = (
  path: string,
  written: number
): Effect.Effect<ExportFile, ExportLost | ExportFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const loss = yield* lossOf(path, written)
    if (Option.isSome(loss)) return yield* loss.value
    return make(
      path,
      yield* Effect.catchTag(opened(path, "r+"), "ExportExists", ({ file }) =>
        Effect.fail(new ExportFailed({ file, reason: "it is there" }))
      )
    )
  })

/** Before a run may be taken over by another process. */
const longest = Duration.toMillis("20 seconds")

const make = (path: string, handle: FileHandle): ExportFile => {
  let end = 0
  const trust = (asked: number) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      now - asked > longest
        ? new ExportFailed({ file: path, reason: `this process, or the server, stood still for ${now - asked} ms` })
        : Effect.void
    )
  return {
    path,
    cut: (length) =>
      trying(path, async () => {
        if ((await handle.stat()).size > length) await handle.truncate(length)
        end = length
      }),
    write: (bytes, asked) =>
      Effect.gen(function* () {
        for (let at = 0; at < bytes.length;) {
          yield* trust(asked)
          // By position: a process that is late writes what another has written there, and nowhere else.
          const { bytesWritten } = yield* trying(path, () => handle.write(bytes, at, undefined, end))
          at += bytesWritten
          end += bytesWritten
        }
      }),
    sync: Effect.flatMap(
      trying(path, () => handle.sync()),
      () => Effect.sync(() => end)
    )
  }
}

const opened = (
  path: string,
  flags: "r+" | "wx"
): Effect.Effect<FileHandle, ExportExists | ExportFailed, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => openFile(path, flags, 0o600),
      catch: (error) =>
        Predicate.hasProperty(error, "code") && error.code === "EEXIST"
          ? new ExportExists({ file: path })
          : failed(path)(error)
    }),
    (handle) => Effect.promise(() => handle.close().catch(() => undefined))
  )

/** The name of a new file is as durable as the folder that has it; a system that cannot sync folders does without. */
const syncFolder = async (folder: string): Promise<void> => {
  try {
    const handle = await openFile(folder, "r")
    await handle.sync().finally(() => handle.close())
  } catch {
    return
  }
}

const trying = <A>(path: string, action: () => Promise<A>): Effect.Effect<A, ExportFailed> =>
  Effect.tryPromise({ try: action, catch: failed(path) })

const failed =
  (file: string) =>
  (error: unknown): ExportFailed =>
    new ExportFailed({ file, reason: describe(error).message })

const sizeOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ size }) => size,
    () => null
  )

const exists = async (path: string): Promise<boolean> => (await sizeOf(path)) !== null
