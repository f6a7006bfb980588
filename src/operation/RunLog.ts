/**
 * The log of runs keeps how far each long operation is, lets one process at a time go on with it, and commits every batch together with what the
 * batch did.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { AttemptError } from "./Attempt.js"
import type { TableMismatch } from "./DatabaseHealth.js"
import type { AppliedBy } from "./Operation.js"
import type { DatabaseError, LockTimeout } from "./OperationError.js"
import type {
  Batch,
  BatchProgress,
  KindTable,
  Run,
  RunAccess,
  RunCancelled,
  RunInProgress,
  RunKey,
  RunLane,
  RunLost
} from "./Run.js"
import type { Restore } from "./Transactor.js"

/** What a run is begun with. */
export interface RunRequest extends Pick<Run, "operationType" | "name" | "params" | "definition"> {
  readonly access: RunAccess
  /** Tables of ours that its kind needs. */
  readonly tables: ReadonlyArray<KindTable>
  /** Whether its success writes a marker. Default: no. */
  readonly isMarked?: boolean | undefined
}

/** What came of asking for a run. */
export type Begun =
  | {
      readonly _tag: "New"
      readonly run: Run
      /** The run of this operation before it, if there was one: what it left behind may still be there. */
      readonly previous: Option.Option<Run>
    }
  /** It was paused, or its process is gone: it is this process's now, where it stood. */
  | { readonly _tag: "Resumed"; readonly run: Run; readonly lanes: ReadonlyArray<RunLane> }
  /** Another process is in it. */
  | { readonly _tag: "Busy"; readonly run: Run }

/** How a run ends, or stops for now. */
export interface RunEnding extends BatchProgress {
  readonly outcome: "applied" | "failed" | "cancelled" | "paused"
  readonly error: Option.Option<AttemptError>
  /** Who asked for it; kept with the attempt that is recorded of every end. */
  readonly appliedBy: AppliedBy
  /** The notes of its marker, where the end is success and its kind writes one. */
  readonly marker: Option.Option<string>
}

/** Why a write of a run's owner was refused: nothing of it is kept. */
export type RunRefused = RunLost | RunCancelled | DatabaseError

/** The port of runs. */
export class RunLog extends Context.Tag("effect-es-ops/RunLog")<
  RunLog,
  {
    /**
     * Begins the run of this operation, or takes over an unfinished one of the same parameters that nobody is in. Fails with `RunInProgress` where
     * the unfinished one has other parameters, or a run is under way that this one must not go beside. Tables that are missing are created, under
     * the operations lock. Where the end could not be recorded, nothing is begun. `restore`, where the caller is not to be interrupted, makes the waits
     * before its COMMIT interruptible.
     */
    readonly begin: (
      request: RunRequest,
      restore?: Restore
    ) => Effect.Effect<Begun, RunInProgress | TableMismatch | LockTimeout | DatabaseError>
    /** The run and its lanes, for a process that helps its owner with one of them. */
    readonly join: (
      run: RunKey
    ) => Effect.Effect<{ readonly run: Run; readonly lanes: ReadonlyArray<RunLane> }, RunRefused>
    /** Keeps the run this process's for another lease, on a connection of its own. */
    readonly renew: (run: RunKey) => Effect.Effect<void, RunRefused>
    /**
     * Runs `work` in one transaction of this run, and writes with it how far the run came: all of it is kept, or nothing. Its `SqlClient` statements,
     * and the ports, join the transaction.
     */
    readonly batch: <A, E, R>(run: RunKey, work: Effect.Effect<Batch<A>, E, R>) => Effect.Effect<A, E | RunRefused, R>
    /**
     * Ends the run, or pauses it, with `work` in the same transaction, and a marker and an attempt where there is something to record. `restore`, where
     * the caller is not to be interrupted, makes the waits and the work before its COMMIT interruptible.
     */
    readonly end: <E, R>(
      run: RunKey,
      ending: RunEnding,
      work: Effect.Effect<void, E, R>,
      restore?: Restore
    ) => Effect.Effect<void, E | RunRefused, R>
    /** Runs `work`, which drops what an ended run left behind, in one transaction, unless the run has not ended. */
    readonly clear: <E, R>(run: Run, work: Effect.Effect<void, E, R>) => Effect.Effect<void, E | DatabaseError, R>
    /** Cancels an unfinished run, whoever has it: its owner's next write is refused. None if there is no unfinished one of this id. */
    readonly cancel: (id: string, appliedBy: AppliedBy) => Effect.Effect<Option.Option<Run>, DatabaseError>
    /** The run of this id. */
    readonly find: (id: string) => Effect.Effect<Option.Option<Run>, DatabaseError>
    /** The unfinished runs, those first that began first; none where there is no table. */
    readonly unfinished: Effect.Effect<ReadonlyArray<Run>, DatabaseError>
    /** The newest run of each name of this type. */
    readonly newest: (operationType: string) => Effect.Effect<ReadonlyMap<string, Run>, DatabaseError>
  }
>() {}
