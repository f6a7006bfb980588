/**
 * A backfill with what comes of it: the read tables that it feeds are compared with the fold of their events.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { BackfillOptions, BackfillReport } from "./backfill/EventBackfill.js"
import * as EventBackfill from "./backfill/EventBackfill.js"
import { Features } from "./event/Features.js"
import type { Run } from "./operation/Run.js"
import * as ProjectionRebuild from "./projection/ProjectionRebuild.js"
import type { RebuildProblem, RebuildRefused } from "./projection/RebuildProblem.js"
import type { RebuildDiff } from "./projection/RebuildReport.js"
import { isEqual } from "./projection/RebuildReport.js"

/** How the read tables that a backfill feeds stand to their events. */
export interface Verification {
  /** Whether every table could be compared, and none differs. */
  readonly equal: boolean
  readonly diffs: ReadonlyArray<RebuildDiff>
  /** The projections that it feeds which name no tables: nothing is known of theirs. */
  readonly unverified: ReadonlyArray<string>
  /** Why tables were not compared: then none was. */
  readonly problems: ReadonlyArray<RebuildProblem>
}

/** A backfill that is through, and the verification behind it. */
export interface VerifiedBackfill {
  readonly run: Run
  readonly report: BackfillReport
  readonly verification: Verification
}

/**
 * Backfills as `EventBackfill.run` does, and then compares the tables of every projection that handles a type of its events with the fold of all their
 * events, as `ProjectionRebuild.diff` does. A second run compares as well, though it appends nothing. What the backfill fails with, or the comparison:
 * tables that cannot be compared are `problems`, and no failure.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { EsOps } from "effect-es-ops"
 *
 * export const isRight = Effect.map(
 *   EsOps.verifiedBackfill({ backfill: "legacy-orders", appliedBy: "cli" }),
 *   ({ report, verification }) => report.failed === 0 && verification.equal
 * )
 * ```
 */
export const verifiedBackfill = (
  options: BackfillOptions
): Effect.Effect<
  VerifiedBackfill,
  Effect.Effect.Error<ReturnType<typeof EventBackfill.run>> | Exclude<ProjectionRebuild.RebuildError, RebuildRefused>,
  EventBackfill.Requirements | ProjectionRebuild.Requirements
> =>
  Effect.gen(function* () {
    const { run, value } = yield* EventBackfill.run(options)
    const report = Option.getOrElse(value, () => EventBackfill.reportOf(run))
    const verification = yield* Effect.tapError(verified(options, report), () =>
      Effect.logWarning(
        "what was backfilled is committed, only the comparison failed: es-ops projection:diff makes it anew"
      )
    )
    return { run, report, verification }
  })

const verified = ({ appliedBy, observer }: BackfillOptions, { eventTypes }: BackfillReport) =>
  Effect.gen(function* () {
    const fed = (yield* Features).projections.filter(({ events }) => events.some((type) => eventTypes.includes(type)))
    const [nameless, known] = Arr.partition(fed, ({ tables = [] }) => tables.length > 0)
    const projections = known.map(({ name }) => name)
    const unverified = nameless.map(({ name }) => name)
    if (projections.length === 0) return { equal: true, diffs: [], unverified, problems: [] }
    return yield* ProjectionRebuild.diff({ projections, appliedBy, observer }).pipe(
      Effect.map((diffs): Verification => ({ equal: diffs.every(isEqual), diffs, unverified, problems: [] })),
      Effect.catchTag("RebuildRefused", ({ problems }) =>
        Effect.succeed<Verification>({ equal: false, diffs: [], unverified, problems })
      )
    )
  })
