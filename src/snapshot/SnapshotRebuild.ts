/**
 * Rebuilds snapshots: every stream of an aggregate type is folded again from its first event, and what is stored is made the same.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import type { AnyAggregate } from "../event/Aggregate.js"
import { EventFeed } from "../event/EventFeed.js"
import { Features } from "../event/Features.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { AppliedBy } from "../operation/Operation.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunError, RunHandle, RunResult } from "../operation/OperationRun.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { Run } from "../operation/Run.js"
import type { LaneFailed, LaneWorker } from "../operation/RunLanes.js"
import type { RunLog, RunRefused } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import { Found } from "./SnapshotFindings.js"
import * as SnapshotFold from "./SnapshotFold.js"
import * as SnapshotLanes from "./SnapshotLanes.js"
import type { SnapshotReport } from "./SnapshotReport.js"
import * as Report from "./SnapshotReport.js"
import type { SnapshotType } from "./SnapshotRows.js"
import { SnapshotRows } from "./SnapshotRows.js"

/** No feature has an aggregate of this type. */
export class UnknownAggregate extends Schema.TaggedError<UnknownAggregate>()("UnknownAggregate", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const known = this.known.length === 0 ? "no feature has one" : `there are: ${this.known.join(", ")}`
    return `no aggregate of type "${this.name}" is known; ${known}`
  }
}

/** What is rebuilt, and for whom. */
export interface RebuildOptions {
  /** The aggregate type. */
  readonly aggregate: string
  readonly appliedBy: AppliedBy
  /** How many parts are folded side by side, each on a connection of its own. Default: 1. */
  readonly lanes?: number | undefined
  /** Whether an unfinished rebuild is begun anew. Default: it goes on where it stood. */
  readonly restart?: boolean | undefined
  readonly observer?: RunObserver | undefined
}

/** What rebuilding and verifying require. */
export type Requirements = Features | EventFeed | SnapshotRows

type WorkError = LaneFailed | DatabaseError | RunRefused

/**
 * Rebuilds the snapshots of an aggregate type, while the application runs: each stream is folded from its first event, and the result is stored where
 * it is missing or different. Snapshots of older versions, beyond the end of their stream and of no stream are deleted. A newer snapshot of a live
 * writer's stays. None where another process did the same while this one waited.
 *
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { SnapshotRebuild } from "effect-es-ops"
 *
 * export const rebuild = SnapshotRebuild.run({ aggregate: "invoice", appliedBy: "cli" }).pipe(
 *   Effect.map(({ value }) => Option.map(value, ({ streams }) => `${streams} streams were folded`))
 * )
 * ```
 */
export const run = (
  options: RebuildOptions
): Effect.Effect<
  RunResult<SnapshotReport>,
  UnknownAggregate | RunError<WorkError>,
  Requirements | RunLog | OperationConfig
> =>
  Effect.gen(function* () {
    const aggregate = yield* named(options.aggregate)
    return yield* OperationRun.run<SnapshotReport, WorkError, EventFeed | SnapshotRows>({
      operationType: SnapshotLanes.operationType,
      name: aggregate.type,
      params: {},
      definition: definitionOf(aggregate),
      access: { reads: [aggregate.type], changes: [] },
      tables: ["es_ops_snapshots"],
      restart: options.restart,
      appliedBy: options.appliedBy,
      observer: options.observer,
      work: (handle) => rebuildAll(aggregate, options.lanes ?? 1, handle),
      drop: () => Effect.void
    })
  })

/**
 * Compares the snapshots of an aggregate type with what its streams give, and writes nothing: what a rebuild would store and delete, and the first of
 * what was found.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SnapshotRebuild, SnapshotReport } from "effect-es-ops"
 *
 * export const areRight = Effect.map(SnapshotRebuild.verify("invoice"), SnapshotReport.isClean)
 * ```
 */
export const verify = (
  aggregateType: string
): Effect.Effect<SnapshotReport, UnknownAggregate | DatabaseError, Requirements> =>
  Effect.gen(function* () {
    const aggregate = yield* named(aggregateType)
    const type = typeOf(aggregate)
    const rows = yield* SnapshotRows
    const fold = yield* SnapshotFold.make(aggregate, SnapshotFold.everything)
    const found = new Found(type)
    for (let isLast = false; !isLast;) {
      const page = yield* fold.next(atOnce, (folded) => rows.compare(type, folded))
      found.add(page)
      isLast = page.isLast
    }
    const strays = yield* rows.strays(type, Report.listed)
    return Report.make(
      type,
      { ...found.counters, ...strays.counts },
      { failures: found.failures, findings: [...found.findings, ...strays.first] }
    )
  }).pipe(Effect.withSpan("SnapshotRebuild.verify", { attributes: { aggregateType }, captureStackTrace: false }))

/** How a process works on the lanes of rebuilds that others have begun: with the same code only. What it finds is counted, and not listed. */
export const laneWorker: LaneWorker<DatabaseError | RunRefused, Requirements> = {
  operationType: SnapshotLanes.operationType,
  knows: (run) =>
    Effect.map(
      aggregateOf(run),
      Option.exists((known) => definitionOf(known) === run.definition)
    ),
  work: (handle, lane) =>
    Effect.gen(function* () {
      const [aggregate, boundaries] = [yield* aggregateOf(handle), SnapshotLanes.cutOf(handle)]
      // What is not known was refused before, and no lane is given away before the run is cut.
      if (Option.isNone(aggregate) || Option.isNone(boundaries)) return
      const found = new Found(typeOf(aggregate.value))
      yield* SnapshotLanes.foldLane(aggregate.value, handle, boundaries.value, lane, found)
    })
}

const aggregateOf = ({ name }: Pick<Run, "name">) =>
  Effect.map(Features, ({ aggregates }) => Option.fromNullable(aggregates.find(({ type }) => type === name)))

const definitionOf = ({ snapshotVersion, source }: AnyAggregate): string =>
  createHash("sha256").update(`${snapshotVersion}\n${source}`).digest("hex")

/** After how many events a verification notes what it found. */
const atOnce = 20_000

const strayBatch = 5000

const named = (name: string): Effect.Effect<AnyAggregate, UnknownAggregate, Features> =>
  Effect.flatMap(Features, ({ aggregates }): Effect.Effect<AnyAggregate, UnknownAggregate> => {
    const found = aggregates.find(({ type }) => type === name)
    return found === undefined
      ? new UnknownAggregate({ name, known: aggregates.map(({ type }) => type) })
      : Effect.succeed(found)
  })

const typeOf = ({ snapshotVersion, type }: AnyAggregate): SnapshotType => ({ aggregateType: type, snapshotVersion })

const clearing = "clearing"

const rebuildAll = (
  aggregate: AnyAggregate,
  lanes: number,
  handle: RunHandle
): Effect.Effect<SnapshotReport, WorkError, EventFeed | SnapshotRows> =>
  Effect.gen(function* () {
    const found = new Found(typeOf(aggregate))
    if (handle.phase !== clearing) yield* SnapshotLanes.foldAll(aggregate, lanes, handle, found)
    yield* removeAll(handle, found)
    const { counters } = yield* handle.current
    return Report.make(found.type, counters, found)
  })

const removeAll = (handle: RunHandle, found: Found) =>
  Effect.gen(function* () {
    const rows = yield* SnapshotRows
    for (let isLast = false; !isLast;) {
      isLast = yield* handle.batch(
        Effect.map(rows.removeStrays(found.type, strayBatch), (strays) => {
          found.note(strays)
          const counters = Report.tally(strays.map(({ kind }) => kind))
          return { value: strays.length < strayBatch, phase: clearing, counters }
        })
      )
    }
  })
