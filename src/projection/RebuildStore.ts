/**
 * The tables of projections, as rebuilds look at them, compute them again beside the live ones, and exchange or correct them.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { EventUnreadable } from "../event/EventType.js"
import type { FoldFailed } from "../event/FoldDefinition.js"
import type { SettleTimeout } from "../event/EventFeed.js"
import type { RunCancelled, RunLost } from "../operation/Run.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { DatabaseError, LockTimeout } from "../operation/OperationError.js"
import type { RebuildPolicy } from "./RebuildOptions.js"
import type {
  ApplyFailed,
  CutOverTimeout,
  GhostRows,
  NotRebuildable,
  RebuildProblem,
  RebuildUnsettled,
  SharedKey,
  UnexpectedGhosts,
  WroteOutsideShadow
} from "./RebuildProblem.js"
import type { RebuildDiff, RebuildReport } from "./RebuildReport.js"
import type { RebuildTarget } from "./RebuildTarget.js"

/** What is found before a rebuild begins. */
export interface Inspection {
  /** What it would refuse, under this policy. */
  readonly problems: ReadonlyArray<RebuildProblem>
  /** What is worth knowing: triggers that fire, standbys, what a swap cannot spare others. */
  readonly notes: ReadonlyArray<string>
  readonly events: number
  /** The types of aggregates that have such events. */
  readonly aggregateTypes: ReadonlyArray<string>
  readonly rows: number
  readonly ghosts: number
  readonly bytes: number
  /** A text that is another one when tables are others than before, in their columns, types and indexes. */
  readonly shape: string
}

/** What ends a rebuild, or pauses it. */
export type RebuildFailure =
  | EventUnreadable
  | FoldFailed
  | ApplyFailed
  | WroteOutsideShadow
  | SharedKey
  | NotRebuildable
  | GhostRows
  | UnexpectedGhosts
  | RebuildUnsettled
  | SettleTimeout
  | CutOverTimeout
  | RunLost
  | RunCancelled
  | LockTimeout
  | DatabaseError

/** The port of rebuilds. */
export class RebuildStore extends Context.Tag("effect-es-ops/RebuildStore")<
  RebuildStore,
  {
    /** Looks at the tables, the events and the streams; nothing is written. */
    readonly inspect: (target: RebuildTarget, policy: RebuildPolicy) => Effect.Effect<Inspection, DatabaseError>
    /**
     * Computes the tables of `target` again and lets them take over, in the batches of `run`, from where it stands. The version that they are
     * built with is recorded in the transaction of the cut-over.
     */
    readonly rebuild: (
      run: RunHandle,
      target: RebuildTarget,
      policy: RebuildPolicy
    ) => Effect.Effect<RebuildReport, RebuildFailure>
    /** Computes the tables of `target` and compares them with the live ones, which are left as they are. */
    readonly diff: (
      run: RunHandle,
      target: RebuildTarget,
      policy: RebuildPolicy
    ) => Effect.Effect<RebuildDiff, RebuildFailure>
    /** Drops what a run left beside the live tables, if there is anything; inside a transaction of the run. */
    readonly drop: (runId: string) => Effect.Effect<void, DatabaseError>
  }
>() {}
