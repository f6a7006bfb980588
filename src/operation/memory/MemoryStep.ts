/**
 * The step of a `MemoryDatabase` that the current fiber is in: what the lock and the log need of it.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DatabaseError } from "../OperationError.js"

/** The step that the current fiber is in, when the database is in memory. */
export class MemoryStep extends Context.Tag("effect-es-ops/MemoryStep")<
  MemoryStep,
  {
    /** Notes that this step holds the lock, and what the database was when it got it. */
    readonly claimed: Effect.Effect<void>
    /** Runs a part of the step alone, undone when it fails; refused once the step has ended. */
    readonly savepoint: <A, E, R>(part: Effect.Effect<A, E, R>) => Effect.Effect<A, E | DatabaseError, R>
  }
>() {}
