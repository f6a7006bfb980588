/**
 * The record of projections as it stands in a `MemoryDatabase`.
 */
import * as Context from "effect/Context"
import type { ProjectionRecord } from "../ProjectionRecords.js"

/** The records by the names of the projections. */
export class MemoryProjections extends Context.Tag("effect-es-ops/MemoryProjections")<
  MemoryProjections,
  ReadonlyMap<string, ProjectionRecord>
>() {
  static readonly empty: MemoryProjections["Type"] = new Map()
}
