/**
 * The source of seeds: a directory of modules, or a record of values.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Seed from "../Seed.js"
import type { Recorded } from "./SeedEntry.js"
import type { Discovery } from "./SeedListing.js"
import * as SeedListing from "./SeedListing.js"

export type { Recorded, SeedEntry } from "./SeedEntry.js"
export type { Discovery } from "./SeedListing.js"

/** The port of seeds: a directory, a record, or an application's own source. */
export class SeedSource extends Context.Tag("effect-es-ops/SeedSource")<
  SeedSource,
  {
    /** Lists the seeds, without loading any. */
    readonly discover: Effect.Effect<Discovery>
  }
>() {}

/** The modules of a directory. */
export const layerDirectory = <R = never>(directory: string): Layer.Layer<SeedSource, never, R> =>
  Layer.effect(SeedSource, SeedListing.ofDirectory<R>(directory))

/** Seeds by their ids. */
export const layerRecord = <S extends Recorded>(
  seeds: Readonly<Record<string, S>>
): Layer.Layer<SeedSource, never, Seed.Services<S>> => Layer.effect(SeedSource, SeedListing.ofRecord(seeds))
