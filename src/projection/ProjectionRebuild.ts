/**
 * Rebuilds of projections: their read tables are computed again from the events while the application runs, and corrected or exchanged in one
 * instant.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import { SettleTimeout } from "../event/EventFeed.js"
import { Features } from "../event/Features.js"
import type { ProjectionRecords } from "../event/ProjectionRecords.js"
import type { TableMismatch } from "../operation/DatabaseHealth.js"
import type { AppliedBy } from "../operation/Operation.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { Run, RunFailedElsewhere, RunInProgress } from "../operation/Run.js"
import type { LaneWorker } from "../operation/RunLanes.js"
import type { RunLog } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import * as ProjectionStatus from "./ProjectionStatus.js"
import type { RebuildOptions, RebuildPolicy } from "./RebuildOptions.js"
import { policy } from "./RebuildOptions.js"
import { CutOverTimeout, RebuildRefused, UnknownProjection } from "./RebuildProblem.js"
import type { RebuildDiff, RebuildPlan, RebuildReport } from "./RebuildReport.js"
import type { Inspection, RebuildFailure } from "./RebuildStore.js"
import { RebuildStore } from "./RebuildStore.js"
import type { RebuildTarget } from "./RebuildTarget.js"
import { targets } from "./RebuildTarget.js"

/** Which projections, and how. */
export interface Options extends RebuildOptions {
  /** The projections by their names; those that share a table with one are rebuilt with it. Default: the outdated ones. */
  readonly projections?: ReadonlyArray<string> | undefined
  /** Who asked for it. Default: `cli`. */
  readonly appliedBy?: AppliedBy | undefined
  /** Is called while it goes on. Default: a line in the log every ten seconds. */
  readonly observer?: RunObserver | undefined
}

/** The services that rebuilds require. */
export type Requirements = Features | ProjectionRecords | RebuildStore | RunLog | OperationConfig

/** Why a rebuild did not get to its end. */
export type RebuildError =
  UnknownProjection | RebuildRefused | RunInProgress | RunFailedElsewhere | TableMismatch | RebuildFailure

/**
 * Rebuilds projections, one run each, in their order. What would be refused is known of all of them before the first begins. A run that was
 * stopped, by an interruption or a crash, is gone on with by the next call with the same options.
 *
 * @example
 * ```ts
 * import { ProjectionRebuild } from "effect-es-ops"
 *
 * export const release = ProjectionRebuild.run({ ghosts: "keep", maxStall: "100 millis" })
 * ```
 */
export const run = (options: Options = {}): Effect.Effect<ReadonlyArray<RebuildReport>, RebuildError, Requirements> =>
  Effect.gen(function* () {
    const how = policy(options, (yield* OperationConfig).lockTimeout)
    const inspected = yield* inspectedOf(yield* chosen(options, "outdated"), how)
    const problems = inspected.flatMap(({ found }) => found.problems)
    if (Arr.isNonEmptyReadonlyArray(problems)) return yield* new RebuildRefused({ problems })
    const reports = yield* Effect.forEach(inspected, ({ found, target }) => rebuilt(options, how, target, found))
    return reports.flatMap(Option.toArray)
  }).pipe(Effect.withSpan("ProjectionRebuild.run", { captureStackTrace: false }))

/** How a process works on the lanes of rebuilds that others have begun: by the same definitions only. */
export const laneWorker: LaneWorker<RebuildFailure | RebuildRefused, Requirements> = {
  operationType: ProjectionStatus.operationType,
  // The tables are compared with those of the shadow, lane by lane.
  knows: (run) =>
    Effect.map(targetOf(run), (target) => Option.exists(target, (known) => run.definition.startsWith(codeOf(known)))),
  work: (run, lane) =>
    Effect.gen(function* () {
      const target = yield* targetOf(run)
      // What is not known was refused before.
      if (Option.isSome(target)) yield* (yield* RebuildStore).lane(run, target.value, yield* policyOf(run), lane)
    })
}

const targetOf = ({ name }: Pick<Run, "name">) =>
  Effect.map(Features, ({ projections }) =>
    Option.fromNullable(targets(projections).find((target) => target.name === name))
  )

const Params = Schema.Struct({ onPoison: Schema.Literal("fail", "quarantine") })

/** Of the policy of its owner, what a lane needs to know. */
const policyOf = ({ params }: Pick<Run, "params">) =>
  Effect.map(OperationConfig, ({ lockTimeout }) =>
    policy(
      Option.match(Schema.decodeUnknownOption(Params)(params), { onNone: () => ({}), onSome: (kept) => kept }),
      lockTimeout
    )
  )

/** What `run` would do with the same options; nothing is written. What it would refuse is among the plans. */
export const plan = (
  options: Options = {}
): Effect.Effect<ReadonlyArray<RebuildPlan>, UnknownProjection | DatabaseError, Requirements> =>
  Effect.gen(function* () {
    const how = policy(options, (yield* OperationConfig).lockTimeout)
    const inspected = yield* inspectedOf(yield* chosen(options, "outdated"), how)
    return inspected.map(({ found, target }): RebuildPlan => ({
      projections: target.projections.map(({ name }) => name),
      tables: target.tables.map(({ name }) => name),
      mode: how.mode,
      events: found.events,
      rows: found.rows,
      ghosts: found.ghosts,
      bytes: found.bytes,
      notes: found.notes,
      problems: found.problems
    }))
  })

/**
 * Compares projections with the fold of their events, all of them unless they are named; the live tables are left as they are. What cannot be
 * computed is refused, as in a rebuild; rows without events are among what differs.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { ProjectionRebuild, RebuildReport } from "effect-es-ops"
 *
 * export const isRight = Effect.map(ProjectionRebuild.diff({ projections: ["orders"] }), (diffs) =>
 *   diffs.every(RebuildReport.isEqual)
 * )
 * ```
 */
export const diff = (options: Options = {}): Effect.Effect<ReadonlyArray<RebuildDiff>, RebuildError, Requirements> =>
  Effect.gen(function* () {
    const how: RebuildPolicy = {
      ...policy(options, (yield* OperationConfig).lockTimeout),
      mode: "merge",
      ghosts: "keep"
    }
    const inspected = yield* inspectedOf(yield* chosen(options, "rebuildable"), how)
    const problems = inspected.flatMap(({ found }) => found.problems)
    if (Arr.isNonEmptyReadonlyArray(problems)) return yield* new RebuildRefused({ problems })
    const diffs = yield* Effect.forEach(inspected, ({ found, target }) => compared(options, how, target, found))
    return diffs.flatMap(Option.toArray)
  }).pipe(Effect.withSpan("ProjectionRebuild.diff", { captureStackTrace: false }))

/** The targets of the projections that are named, or of those that need it. */
const chosen = ({ projections: names }: Options, otherwise: "outdated" | "rebuildable") =>
  Effect.gen(function* () {
    const { projections } = yield* Features
    const all = targets(projections)
    if (names !== undefined) {
      for (const name of names) {
        if (!projections.some((projection) => projection.name === name))
          return yield* new UnknownProjection({ name, known: projections.map((projection) => projection.name) })
      }
      return all.filter((target) => target.projections.some(({ name }) => names.includes(name)))
    }
    if (otherwise === "rebuildable") return all.filter(({ tables }) => tables.length > 0)
    const outdated = yield* ProjectionStatus.outdated
    return all.filter((target) => target.projections.some(({ name }) => outdated.includes(name)))
  })

const inspectedOf = (all: ReadonlyArray<RebuildTarget>, how: RebuildPolicy) =>
  Effect.flatMap(RebuildStore, (store) =>
    Effect.forEach(all, (target) => Effect.map(store.inspect(target, how), (found) => ({ target, found })))
  )

const rebuilt = (options: Options, how: RebuildPolicy, target: RebuildTarget, found: Inspection) =>
  Effect.flatMap(RebuildStore, (store) =>
    Effect.map(
      OperationRun.run({
        ...shared(options, how, target, found),
        operationType: ProjectionStatus.operationType,
        params: paramsOf(how),
        marker: `rebuilt ${target.projections.map(({ name }) => name).join(", ")}`,
        work: (run) => Effect.zipRight(counted(run, found), store.rebuild(run, target, how)),
        drop: ({ id }) => store.drop(id)
      }),
      ({ value }) => value
    )
  )

const compared = (options: Options, how: RebuildPolicy, target: RebuildTarget, found: Inspection) =>
  Effect.flatMap(RebuildStore, (store) =>
    Effect.map(
      OperationRun.run({
        ...shared(options, how, target, found),
        operationType: "projection-diff",
        params: {},
        work: (run) => Effect.zipRight(counted(run, found), store.diff(run, target, how)),
        drop: ({ id }) => store.drop(id)
      }),
      ({ value }) => value
    )
  )

/** Notes how many events there are, so that it can be told how long it will take. */
const counted = (run: OperationRun.RunHandle, { events }: Inspection) =>
  Effect.flatMap(run.current, ({ total }) =>
    Option.isSome(total) ? Effect.void : run.batch(Effect.succeed({ value: undefined, total: events }))
  )

const shared = (
  { appliedBy = "cli", observer, restart }: Options,
  _: RebuildPolicy,
  target: RebuildTarget,
  found: Inspection
) => ({
  name: target.name,
  definition: definitionOf(target, found),
  access: { reads: found.aggregateTypes.length === 0 ? ["*"] : [...found.aggregateTypes], changes: [] },
  tables: ["es_ops_projections", "es_ops_dead_letters"] as const,
  restart,
  appliedBy,
  observer,
  pauses: (error: unknown) => error instanceof SettleTimeout || error instanceof CutOverTimeout
})

/** What makes it other work; how long it may wait, and in how many lanes it goes, does not. */
const paramsOf = ({ expect, ghosts, mode, onPoison }: RebuildPolicy) => ({
  mode,
  ghosts,
  onPoison,
  expect: Option.getOrNull(expect)
})

/** Where one of these differs, what was built is no use any more: the definitions, and the tables as they are. */
const definitionOf = (target: RebuildTarget, { shape }: Inspection): string =>
  `${codeOf(target)}/${createHash("sha256").update(shape).digest("hex")}`

/** Versions, columns and the source of the functions. */
const codeOf = (target: RebuildTarget): string => {
  const hash = createHash("sha256")
  for (const { apply, name, source = String(apply), types = [], version = 1 } of target.projections) {
    hash.update(JSON.stringify([name, version, types.map(({ type, version: of }) => [type, of])]))
    hash.update(source)
  }
  hash.update(
    JSON.stringify([
      target.events,
      target.archived,
      target.tables.map(({ columns, name, primaryKey }) => [name, columns, primaryKey])
    ])
  )
  return hash.digest("hex")
}
