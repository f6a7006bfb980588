/**
 * The session of a command: its work gets its layers, on the database that is named or on none; a line on stderr names the database.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as EsOps from "../../EsOps.js"
import * as WriteDispatcher from "../../event/WriteDispatcher.js"
import { describe } from "../../operation/ErrorDescription.js"
import { SettingError } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as NamedSeeds from "../input/NamedSeeds.js"
import type { Resolved, Source } from "../input/Settings.js"
import { Terminal } from "../output/Terminal.js"
import * as UnconnectedClient from "../../postgres/client/UnconnectedClient.js"
import type { ClientOptions } from "./CommandClient.js"
import { clientOn } from "./CommandClient.js"

/** What a command needs besides. */
interface SessionOptions extends ClientOptions {
  /** Where lanes are worked on. Default: in this process. */
  readonly lanes?: EsOps.CommandSettings["cluster"]
}

/** Runs `work` with everything that it needs, on the database of `settings` and no other. */
export const withDatabase = <A, E>(
  settings: Resolved,
  work: Effect.Effect<A, E, EsOps.Services>,
  options: SessionOptions = {}
): Effect.Effect<A, E | SettingError | DatabaseError | EsOps.EmbeddedInUse, Terminal> =>
  Effect.gen(function* () {
    const { database, file, late, lockTimeout, renamed } = settings
    const seeds = yield* NamedSeeds.of(settings)
    const client = yield* clientOn(database, lockTimeout, options)
    const services = usable("layer", file.layer ?? Layer.empty)
    const operations = usable(keyOf(file), EsOps.layer({ ...file, seeds, late, renamed, lockTimeout }))
    const shared =
      options.lanes === undefined ? operations : Layer.provideMerge(usable("cluster", options.lanes), operations)
    return yield* Effect.provide(work, shared.pipe(Layer.provide(services), Layer.provide(client)))
  })

/** Runs `work` with the seeds and the names of the handlers, on an empty database in memory. */
export const withoutDatabase = <A, E>(
  source: Source,
  work: Effect.Effect<A, E, EsOps.Services>
): Effect.Effect<A, E | SettingError, Terminal> =>
  Effect.gen(function* () {
    const { file } = source
    const { err } = yield* Terminal
    const seeds = yield* NamedSeeds.of(source)
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
