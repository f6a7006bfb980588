/**
 * An embedded PostgreSQL in a folder, for development: no server, no fsync, one process at a time.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe } from "../../operation/ErrorDescription.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { databaseError } from "../client/PgError.js"
import type { EmbeddedInUse } from "./EmbeddedLock.js"
import * as EmbeddedLock from "./EmbeddedLock.js"
import * as PgliteMemory from "./PgliteMemory.js"
import { PgliteStream } from "./PgliteStream.js"
import { abandonable } from "../client/ClientLayer.js"

const attempt = <A>(path: string, run: () => Promise<A>): Effect.Effect<A, DatabaseError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => {
      const { code, message } = describe(cause)
      return new DatabaseError({
        action: `opening the embedded database ${path}`,
        id: Option.none(),
        code: Option.fromNullable(code),
        reason: message,
        connectionLost: false,
        cause
      })
    }
  })

const open = (data: string) =>
  attempt(data, async () => {
    const { PGlite } = await import("@electric-sql/pglite")
    return PGlite.create(data)
  })

/**
 * Opens the database of `folder`, creating both (folder 0700, with a `.gitignore` of `*`). While another process has it open, waits as long
 * as `lockTimeout`, then fails with `EmbeddedInUse`.
 */
export const layer = (options: {
  readonly folder: string
  readonly lockTimeout: Duration.DurationInput
}): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, EmbeddedInUse | DatabaseError> =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      yield* prepareFolder(options.folder)
      yield* EmbeddedLock.acquire(options.folder, Duration.decode(options.lockTimeout))
      const database = yield* Effect.acquireRelease(open(join(options.folder, "data")), (opened) =>
        Effect.promise(() => opened.close())
      )
      return clientOf(() => new PgliteStream(database))
    })
  ).pipe(abandonable)

/** An empty database in memory, for one test at a time. */
export const layerMemory: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, DatabaseError> = Layer.unwrapScoped(
  Effect.map(PgliteMemory.lend(open("memory://")), ({ stream }) => clientOf(stream))
).pipe(abandonable)

const clientOf = (stream: () => PgliteStream) =>
  PgClient.layer({
    username: "postgres",
    database: "postgres",
    applicationName: "es-ops",
    // One session is all there is: a second connection would share its transaction.
    maxConnections: 1,
    stream
  }).pipe(Layer.catchAll((error) => Layer.fail(databaseError("opening the embedded database")(error))))

/** What the folder of an embedded database holds: anything else is somebody's own, and the folder is not ours to close and hide from git. */
const ours = /^(\.gitignore|data|\.draft-.*|(?:claim|lock)-.*\.json)$/

const prepareFolder = (folder: string): Effect.Effect<void, DatabaseError> =>
  attempt(folder, async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const others = (await readdir(folder)).filter((name) => !ours.test(name))
    if (others.length > 0)
      throw new Error(`the folder has other files in it (${others[0] ?? ""}): name an empty or a new one`)
    await chmod(folder, 0o700)
    await writeFile(join(folder, ".gitignore"), "*\n")
  })
