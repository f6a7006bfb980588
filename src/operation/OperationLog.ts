/**
 * The log of operations keeps what was applied to a database, and every attempt: the markers and the attempts.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Attempt, NewAttempt } from "./Attempt.js"
import type { Marker, NewMarker, OperationId } from "./Operation.js"
import type { AppliedOperations } from "./AppliedOperations.js"
import type {
  AlreadyApplied,
  DatabaseError,
  EncodingChanged,
  LockControl,
  TransactionLeftOpen
} from "./OperationError.js"

export type { AppliedOperations } from "./AppliedOperations.js"

/** The port of markers and attempts. */
export class OperationLog extends Context.Tag("effect-es-ops/OperationLog")<
  OperationLog,
  {
    /** Ids of everything applied, with the type of operation; empty where there is no marker table. Takes no lock. */
    readonly applied: Effect.Effect<AppliedOperations, DatabaseError>
    /** Whether any of the tables is there: where none is, there is no history, and nothing that could be of another shape. */
    readonly hasTables: Effect.Effect<boolean, DatabaseError>
    /** All markers, in the order of their ids. */
    readonly markers: Effect.Effect<ReadonlyArray<Marker>, DatabaseError>
    /** Attempts, newest first; empty where there is no attempts table. `after`: only those with a higher id. `all`: fails where some may be hidden. */
    readonly attempts: (filter: {
      readonly id?: OperationId | undefined
      readonly after?: number | undefined
      readonly all?: boolean | undefined
    }) => Effect.Effect<ReadonlyArray<Attempt>, DatabaseError>
    /** The newest attempt of each operation, by its id. */
    readonly lastAttempts: Effect.Effect<ReadonlyMap<string, Attempt>, DatabaseError>
    /**
     * Forgets the marker of an operation of this type and records the attempt, or does nothing if there is no such marker; answers which.
     * Inside a step, after `claim`.
     */
    readonly unmark: (
      marker: { readonly id: OperationId; readonly operationType: string },
      attempt: NewAttempt
    ) => Effect.Effect<boolean, DatabaseError>
    /**
     * Gives the marker of an operation of this type another id and records the attempts, or does nothing if there is no such marker; answers which.
     * Inside a step, after `claim` of the new id.
     */
    readonly rename: (
      marker: { readonly from: OperationId; readonly to: OperationId; readonly operationType: string },
      attempts: ReadonlyArray<NewAttempt>
    ) => Effect.Effect<boolean, DatabaseError>
    /**
     * Records an attempt that begins, at once, if its end can be recorded as well; answers with its id. Earlier ones that never ended were
     * interrupted. Inside `Transactor.session`, after `claim`.
     */
    readonly begin: (attempt: NewAttempt) => Effect.Effect<number, DatabaseError>
    /** Ends an attempt that was begun, together with the marker if there is one: not where the body's own work is not committed, or the lock not held. */
    readonly finish: (
      id: number,
      attempt: NewAttempt,
      marker: Option.Option<NewMarker>
    ) => Effect.Effect<void, AlreadyApplied | LockControl | EncodingChanged | TransactionLeftOpen | DatabaseError>
    /** Records an attempt, where the table exists. */
    readonly record: (attempt: NewAttempt) => Effect.Effect<void, DatabaseError>
    /**
     * Records an attempt unless the operation's newest has the same outcome, whichever of many replicas comes first; answers whether there is a
     * table for it.
     */
    readonly recordOnce: (attempt: NewAttempt) => Effect.Effect<boolean, DatabaseError>
  }
>() {}
