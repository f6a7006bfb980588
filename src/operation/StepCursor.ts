/**
 * The cursor of an operation that is done step by step under the operations lock: it has no owner, as whichever process gets the lock does the next
 * step. It is a row among the runs.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { OperationId } from "./Operation.js"
import type { DatabaseError } from "./OperationError.js"
import type { Run, RunCounters } from "./Run.js"

/** How far a step came, committed with it. */
export interface StepProgress {
  /** JSON: what the next step goes on behind. */
  readonly cursor: unknown
  /** How many more are done. */
  readonly done: number
  readonly total: Option.Option<number>
  /** How much is added to each counter. */
  readonly counters: RunCounters
  /** The hash of what it is done by. */
  readonly definition: string
  /** Whether it was the last step. */
  readonly isLast: boolean
  /** How long the next step may keep others waiting until they take it for abandoned. */
  readonly lease: Duration.Duration
}

/** The port of such cursors, by the type of the operation and its id. */
export class StepCursor extends Context.Tag("effect-es-ops/StepCursor")<
  StepCursor,
  {
    /** The operation's row, if it is half done: as its step sees it, or as it is committed. */
    readonly read: (operationType: string, id: OperationId) => Effect.Effect<Option.Option<Run>, DatabaseError>
    /** The operations of this type that are half done, by their ids; none where there is no table. */
    readonly halfDone: (operationType: string) => Effect.Effect<ReadonlyMap<string, Run>, DatabaseError>
    /** Writes how far a step came, and creates the tables where they are missing. Inside a step, after the claim. */
    readonly write: (operationType: string, id: OperationId, made: StepProgress) => Effect.Effect<void, DatabaseError>
    /** Forgets the operation's rows; answers whether it was half done. Inside a step, after the claim. */
    readonly forget: (operationType: string, id: OperationId) => Effect.Effect<boolean, DatabaseError>
    /** Gives the operation's rows another id; answers whether it was half done. Inside a step, after the claim. */
    readonly rename: (
      operationType: string,
      from: OperationId,
      to: OperationId
    ) => Effect.Effect<boolean, DatabaseError>
  }
>() {}
