/**
 * The session of a command: its work gets its layers, on the database that is named or on none; a line on stderr names the database.
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import * as EsOps from "../../EsOps.js"
import * as WriteDispatcher from "../../event/WriteDispatcher.js"
import { describe } from "../../operation/ErrorDescription.js"
import { SettingError } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { Database } from "../input/DatabaseChoice.js"
import type { Resolved, Source } from "../input/Settings.js"
import { Terminal } from "../output/Terminal.js"
import * as UnconnectedClient from "../../postgres/client/UnconnectedClient.js"

/** What a command needs of its client besides. */
interface ClientOptions {
  /** The most connections to a server. Default: two. */
  readonly connections?: number | undefined
  /** Where lanes are worked on. Default: in this process. */
  readonly lanes?: EsOps.CommandSettings["cluster"]
}

/** Runs `work` with everything that it needs, on the database of `settings` and no other. */
export const withDatabase = <A, E>(
  settings: Resolved,
  work: Effect.Effect<A, E, EsOps.Services>,
  options: ClientOptions = {}
): Effect.Effect<A, E | SettingError | DatabaseError | EsOps.EmbeddedInUse, Terminal> =>
  Effect.gen(function* () {
    const { database, file, late, lockTimeout, renamed } = settings
    const seeds = yield* seedsOf(settings)
    const client = yield* clientOn(database, lockTimeout, options)
    const services = usable("layer", file.layer ?? Layer.empty)
    const operations = usable(keyOf(file), EsOps.layer({ ...file, seeds, late, renamed, lockTimeout }))
    const shared =
      options.lanes === undefined ? operations : Layer.provideMerge(usable("cluster", options.lanes), operations)
    return yield* Effect.provide(work, shared.pipe(Layer.provide(services), Layer.provide(client)))
  })

/** The layer of a client on a database. */
type ClientLayer = Layer.Layer<
  Layer.Layer.Success<ReturnType<typeof EsOps.layerClient>>,
  Layer.Layer.Error<ReturnType<typeof EsOps.layerClient | typeof EsOps.layerEmbedded>>
>

/** The client on a database, whose name is said; it is connected when it is built. */
export const clientOn = (
  database: Database,
  lockTimeout: Duration.Duration,
  { connections }: ClientOptions = {}
): Effect.Effect<ClientLayer, never, Terminal> =>
  Effect.gen(function* () {
    const { err } = yield* Terminal
    yield* Option.match(database.note, { onNone: () => Effect.void, onSome: err })
    yield* err(`database: ${database.shown}${database._tag === "Embedded" ? " (for development only: no fsync)" : ""}`)
    return database._tag === "Embedded"
      ? EsOps.layerEmbedded({ folder: database.folder, lockTimeout })
      : EsOps.layerClient({ url: Redacted.make(database.url), connections })
  })

/** Runs `work` with the seeds and the names of the handlers, on an empty database in memory. */
export const withoutDatabase = <A, E>(
  source: Source,
  work: Effect.Effect<A, E, EsOps.Services>
): Effect.Effect<A, E | SettingError, Terminal> =>
  Effect.gen(function* () {
    const { file } = source
    const { err } = yield* Terminal
    const seeds = yield* seedsOf(source)
    // No seed is run: only a dispatcher of the application's needs the services, and only so that its names can be read.
    const services = (file.layer ?? Layer.empty).pipe(Layer.provideMerge(UnconnectedClient.layer))
    const nameless = (error: unknown) =>
      Layer.effectDiscard(
        err(`handler names are not checked: the dispatcher cannot be built: ${describe(error).message}`)
      ).pipe(Layer.provideMerge(WriteDispatcher.layerNameless))
    const writes =
      file.dispatcher === undefined
        ? file
        : {
            ...file,
            dispatcher: Layer.catchAll(usable("dispatcher", Layer.provide(file.dispatcher, services)), nameless)
          }
    const operations = usable(keyOf(file), EsOps.layerMemory({ ...writes, seeds }))
    return yield* Effect.provide(work, operations)
  })

/** The seeds, or none with a notice where the default folder is missing, which nobody named. */
const seedsOf = ({ isNamed, seeds }: Source): Effect.Effect<Source["seeds"]> =>
  isNamed || typeof seeds !== "string" || existsSync(seeds)
    ? Effect.succeed(seeds)
    : Effect.as(Effect.logWarning(`the seeds folder ${resolve(seeds)} does not exist, so there are no seeds`), {})

/** The key of the config file that is the reason where the operations' own layer cannot be built. */
const keyOf = ({ dispatcher }: Source["file"]): string => (dispatcher === undefined ? "features" : "dispatcher")

/** A layer out of the config file: where it cannot be built, by a failure or a defect, the error names its key. */
const usable = <A, E, R>(key: string, layer: Layer.Layer<A, E, R>): Layer.Layer<A, SettingError, R> =>
  Layer.catchAllCause(layer, (cause) => {
    if (Cause.isInterruptedOnly(cause)) return Layer.failCause(Cause.interrupt(FiberId.none))
    const error = Cause.squash(cause)
    const unusable = new SettingError({ key, reason: `it cannot be built: ${describe(error).message}` })
    return Layer.fail(error instanceof SettingError ? error : unusable)
  })
