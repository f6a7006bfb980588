/**
 * The lock that lets one replica at a time run an operation, and the marker as it is under that lock.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { OperationId } from "./Operation.js"
import type { AlreadyApplied, DatabaseError, LockHeld, LockHolder } from "./OperationError.js"

/** The port of the lock. */
export class OperationLock extends Context.Tag("effect-es-ops/OperationLock")<
  OperationLock,
  {
    /**
     * One attempt at the lock and the re-read of the marker, inside `Transactor.step` or `Transactor.session`. From here on a step that is a
     * transaction can be undone to this point. The lock is released when the transaction, or the session, ends.
     */
    readonly claim: (id: OperationId) => Effect.Effect<void, LockHeld | AlreadyApplied | DatabaseError>
    /**
     * What `claim` would find at the moment, asked outside any step: fails as it would, and takes nothing. For a replica that waits: an attempt is
     * a transaction.
     */
    readonly probe: (id: OperationId) => Effect.Effect<void, LockHeld | AlreadyApplied | DatabaseError>
    /** The session that holds the lock at the moment. */
    readonly holder: Effect.Effect<Option.Option<LockHolder>, DatabaseError>
    /**
     * Whether everything is there that a step needs. What is missing is created by the next `claim` that gets the lock; while another has it,
     * and there is no marker yet that could be read, this fails with `LockHeld`.
     */
    readonly ready: (id: OperationId) => Effect.Effect<boolean, LockHeld | DatabaseError>
    /** Whether tables of features lack columns that came since: the next `claim` that gets the lock adds them. No table could: nothing is asked. */
    readonly lacksColumns: Effect.Effect<boolean, DatabaseError>
  }
>() {}
