/**
 * The client of a command, on the database that is named; a line on stderr names it.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as RecordLayers from "../../RecordLayers.js"
import type { Database } from "../input/DatabaseChoice.js"
import { Terminal } from "../output/Terminal.js"

/** What a command needs of its client besides. */
export interface ClientOptions {
  /** The most connections to a server. Default: two. */
  readonly connections?: number | undefined
}

/** The layer of a client on a database. */
type ClientLayer = Layer.Layer<
  Layer.Layer.Success<ReturnType<typeof RecordLayers.layerClient>>,
  Layer.Layer.Error<ReturnType<typeof RecordLayers.layerClient | typeof RecordLayers.layerEmbedded>>
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
      ? RecordLayers.layerEmbedded({ folder: database.folder, lockTimeout })
      : RecordLayers.layerClient({ url: Redacted.make(database.url), connections })
  })
