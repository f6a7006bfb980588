/**
 * The deliveries of a replay: which events were given to its subscriber, recorded with the run until it ends, and handled where nothing is written.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { StreamId } from "../event/Event.js"
import type { AttemptError } from "../operation/Attempt.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { ReplayWrites } from "./ReplayError.js"

/** An event that was handled, at which the subscriber failed, or that was left out as its stream had failed. */
export interface Delivery extends StreamId {
  readonly eventId: bigint
  readonly error: Option.Option<AttemptError>
}

/** How a delivery is counted: an event of a stream that had failed before is only left out. */
export const outcomeOf = ({ error }: Delivery): "delivered" | "failed" | "skipped" =>
  Option.match(error, {
    onNone: () => "delivered",
    onSome: ({ _tag }) => (_tag === "StreamStopped" ? "skipped" : "failed")
  })

/** Handlers that run one after another. What is around each of them is made once for all: by the million, it costs more than a handler. */
export interface Turns {
  /** Runs a handler where nothing can be written, and answers with how it ended. */
  readonly run: <A, E, R>(
    handler: Effect.Effect<A, E, R>
  ) => Effect.Effect<Exit.Exit<A, E | ReplayWrites | DatabaseError>, never, R>
  /** Notes what the handler under way tried to write: it fails, whether it catches the refusal or not. */
  readonly refuse: (what: ReplayWrites) => void
}

/** The port of deliveries. */
export class Deliveries extends Context.Tag("effect-es-ops/Deliveries")<
  Deliveries,
  {
    /** Records deliveries, in the transaction of the fiber. */
    readonly record: (runId: string, deliveries: NonEmptyReadonlyArray<Delivery>) => Effect.Effect<void, DatabaseError>
    /** The events above `after`, up to `upTo` where it is given, that a run has delivered. */
    readonly recorded: (
      runId: string,
      after: bigint,
      upTo?: bigint
    ) => Effect.Effect<ReadonlySet<bigint>, DatabaseError>
    /** The deliveries of a run at which its subscriber failed. */
    readonly failed: (runId: string) => Effect.Effect<ReadonlyArray<Delivery>, DatabaseError>
    /** Deletes those of a run, in the transaction of the fiber. */
    readonly remove: (runId: string) => Effect.Effect<void, DatabaseError>
    /**
     * Has handlers that `work` runs one after another, each with a transaction for its statements, which only reads, begins with the first of them
     * and leaves nothing. A statement that would write makes the handler fail, whether it catches that or not.
     */
    readonly inTurn: <A, E, R>(work: (turns: Turns) => Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  }
>() {}
