/**
 * A wait for a table that took as long as `lockTimeout` reaches ports as the cause of a failed statement; for the caller it is the failure itself.
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { LockTimeout } from "./OperationError.js"

/** The wait behind a failure, if there is one. */
export const timeoutIn = (error: unknown): Option.Option<LockTimeout> => {
  let cause = error
  for (let depth = 0; depth < 8; depth++) {
    if (cause instanceof LockTimeout) return Option.some(cause)
    if (!Predicate.hasProperty(cause, "cause")) return Option.none()
    cause = cause.cause
  }
  return Option.none()
}
