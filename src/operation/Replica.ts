/**
 * The process that runs operations: its host and process id, kept with every attempt.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import { hostname } from "node:os"
import { pid } from "node:process"

/** The replica that applies. */
export class Replica extends Context.Tag("effect-es-ops/Replica")<
  Replica,
  {
    /** The host's name. */
    readonly host: string
    /** The process id. */
    readonly pid: number
  }
>() {}

/** This process on this host. */
export const current = (): Replica["Type"] => ({ host: hostname(), pid })

/** Provides this process on this host. */
export const layer: Layer.Layer<Replica> = Layer.sync(Replica, current)

/** Provides a made-up process, for tests. */
export const layerMemory = (replica: { readonly host: string; readonly pid: number }): Layer.Layer<Replica> =>
  Layer.succeed(Replica, replica)
