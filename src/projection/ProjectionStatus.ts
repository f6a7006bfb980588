/**
 * How the projections of the features stand: which are outdated, when each was rebuilt last, and by which run it is being rebuilt.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Features } from "../event/Features.js"
import { asked, ProjectionRecords } from "../event/ProjectionRecords.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RecordedTime } from "../operation/RecordedTime.js"
import type { Run } from "../operation/Run.js"
import { RunLog } from "../operation/RunLog.js"
import * as RebuildTarget from "./RebuildTarget.js"

/** One projection, as it stands. */
export interface ProjectionStatusEntry {
  readonly name: string
  /** The names of the tables that it writes; none where it names none, so that it cannot be rebuilt. */
  readonly tables: ReadonlyArray<string>
  /** The version of its definition. */
  readonly version: number
  /** The version that its tables were built with; 0 where they lack something. */
  readonly builtVersion: number
  /** Whether its definition is newer than its tables. */
  readonly outdated: boolean
  readonly lastRebuild: Option.Option<RecordedTime>
  /** The unfinished run that rebuilds it. */
  readonly run: Option.Option<Run>
  /** How many events rebuilds left out: their rows may be wrong until the next clean one. */
  readonly deadLetters: number
}

/** The kind of operation that a rebuild is. */
export const operationType = "projection-rebuild"

/** Every projection of the features, in their order. Two questions, or three, however many events there are; nothing is written. */
export const status: Effect.Effect<
  ReadonlyArray<ProjectionStatusEntry>,
  DatabaseError,
  Features | ProjectionRecords | RunLog
> = Effect.gen(function* () {
  const { projections } = yield* Features
  const log = yield* RunLog
  const records = yield* (yield* ProjectionRecords).of(projections.map(asked))
  const runs = (yield* log.unfinished).filter((run) => run.operationType === operationType)
  const runOf = new Map(
    RebuildTarget.targets(projections).flatMap((target) => {
      const run = runs.find(({ name }) => name === target.name)
      return run === undefined ? [] : target.projections.map(({ name }): readonly [string, Run] => [name, run])
    })
  )
  return records.map(({ deadLetters, lastRebuild, name, version: builtVersion }, at): ProjectionStatusEntry => {
    const { tables = [], version = 1 } = projections[at] ?? {}
    return {
      name,
      tables: tables.map((table) => table.name),
      version,
      builtVersion,
      outdated: builtVersion < version,
      lastRebuild: Option.map(lastRebuild, ({ at: when }) => when),
      run: Option.fromNullable(runOf.get(name)),
      deadLetters
    }
  })
}).pipe(Effect.withSpan("ProjectionStatus.status", { captureStackTrace: false }))

/** The names of those that are outdated. */
export const outdated: Effect.Effect<ReadonlyArray<string>, DatabaseError, Features | ProjectionRecords> = Effect.gen(
  function* () {
    const { projections } = yield* Features
    const records = yield* (yield* ProjectionRecords).of(projections.map(asked))
    return projections.flatMap(({ name, version = 1 }, at) => ((records[at]?.version ?? 1) < version ? [name] : []))
  }
)
