/**
 * The record of projections: which version of its definition each one's tables were built with.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RecordedTime } from "../operation/RecordedTime.js"
import type { Projection } from "./Projection.js"

/** A projection as its record is asked for. */
export interface AskedProjection {
  readonly name: string
  /** The version of its definition. */
  readonly version: number
  /** The names of its tables. */
  readonly tables: ReadonlyArray<string>
  /** The types of its events. */
  readonly events: ReadonlyArray<string>
}

/** What is recorded of a projection. */
export interface ProjectionRecord {
  readonly name: string
  /**
   * The version that its tables were built with: that of the definition by which we created them where none of its events was there, 0 where one
   * was or a table is missing. A table that was found has version 1.
   */
  readonly version: number
  /** When it was rebuilt last, and by which run. */
  readonly lastRebuild: Option.Option<{ readonly runId: string; readonly at: RecordedTime }>
  /** How many events rebuilds left out, as they could not be read or folded. */
  readonly deadLetters: number
}

/** The port of the record. */
export class ProjectionRecords extends Context.Tag("effect-es-ops/ProjectionRecords")<
  ProjectionRecords,
  {
    /** What is recorded of these, in their order, by the same statements for many events as for few. */
    readonly of: (
      projections: ReadonlyArray<AskedProjection>
    ) => Effect.Effect<ReadonlyArray<ProjectionRecord>, DatabaseError>
    /** Records that a run has built them, in the transaction of the fiber. */
    readonly built: (
      projections: NonEmptyReadonlyArray<Pick<AskedProjection, "name" | "version">>,
      runId: string
    ) => Effect.Effect<void, DatabaseError>
    /** Records that their tables lack something of the events, in the transaction of the fiber: they are outdated until they are rebuilt. */
    readonly outdate: (names: NonEmptyReadonlyArray<string>) => Effect.Effect<void, DatabaseError>
  }
>() {}

/** A projection as its record is asked for. */
export const asked = ({ events, name, tables = [], version = 1 }: Projection<unknown, unknown>): AskedProjection => ({
  name,
  version,
  tables: tables.map((table) => table.name),
  events
})
