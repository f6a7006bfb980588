/**
 * The moves of streams from one tenant to another, as statements in the transaction of the fiber.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { DatabaseError, LockHolder } from "../operation/OperationError.js"

/** A stream that is to be moved. */
export interface Move {
  readonly aggregateId: string
  readonly from: string
  readonly to: string
}

/** What there is of a stream at one of the two tenants. */
export interface Place {
  /** None where it has no event. */
  readonly aggregateType: Option.Option<string>
  readonly events: number
  /** The version of its last event. */
  readonly version: number
  readonly isArchived: boolean
  readonly isPurged: boolean
}

/** What there is of a stream at both of them. */
export interface MoveState extends Move {
  readonly source: Place
  readonly target: Place
  /** The types of its events, at either. */
  readonly types: ReadonlyArray<string>
  /** Idempotency keys of its events that the target tenant has too; the first of them. */
  readonly takenKeys: ReadonlyArray<string>
}

/** Events that were appended to the source by a transaction from before the move. */
export interface Straggler extends Move {
  readonly events: number
  readonly types: ReadonlyArray<string>
}

/** The events are locked by others: nothing was done, and it is to be tried again. */
export class EventsBusy extends Schema.TaggedError<EventsBusy>()("EventsBusy", {}) {
  override get message(): string {
    return "the events are locked by another session"
  }
}

/** Transactions from before a move, by names that last as long as they do. */
export type OpenTransactions = ReadonlyArray<string>

/** The port of moves. Aggregate ids and tenants are in lower case. */
export class StreamMoves extends Context.Tag("effect-es-ops/StreamMoves")<
  StreamMoves,
  {
    /** What there is of these streams, in the order given. */
    readonly look: (moves: NonEmptyReadonlyArray<Move>) => Effect.Effect<ReadonlyArray<MoveState>, DatabaseError>
    /**
     * Keeps others from writing events until the transaction ends. Waits for those who write for no longer than 30 ms, and so does every
     * statement of the transaction after it.
     */
    readonly lock: Effect.Effect<void, EventsBusy | DatabaseError>
    /** A session that writes events, and so is in the way of the lock. */
    readonly holder: Effect.Effect<Option.Option<LockHolder>, DatabaseError>
    /** Moves events, archive marks, snapshots and dead letters to tenants that have no event of the stream. Under the lock. */
    readonly move: (moves: NonEmptyReadonlyArray<Move>) => Effect.Effect<void, EventsBusy | DatabaseError>
    /** Puts the events of both tenants together in the order of their ids, and numbers them anew. Snapshots of both are deleted. Under the lock. */
    readonly merge: (moves: NonEmptyReadonlyArray<Move>) => Effect.Effect<void, EventsBusy | DatabaseError>
    /** The transactions that are open now, besides that of the fiber. */
    readonly open: Effect.Effect<OpenTransactions, DatabaseError>
    /** Waits until these are over; answers with who is left after `timeout`. */
    readonly over: (
      transactions: OpenTransactions,
      timeout: Duration.Duration
    ) => Effect.Effect<ReadonlyArray<string>, DatabaseError>
    /**
     * The streams with events on their source whose versions do not begin at 1, or have a gap: they were appended to the stream that has moved.
     * One that was begun there anew is not among them.
     */
    readonly stragglers: (moves: NonEmptyReadonlyArray<Move>) => Effect.Effect<ReadonlyArray<Straggler>, DatabaseError>
    /** Puts those events behind the last version of the target. Under the lock. */
    readonly putBehind: (moves: NonEmptyReadonlyArray<Move>) => Effect.Effect<void, EventsBusy | DatabaseError>
  }
>() {}
