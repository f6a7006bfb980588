/**
 * The failures that pause a run and do not fail it: waits that were too long, and a server that was lost or is out of something. Pure.
 */
import * as Option from "effect/Option"
import { DatabaseError, LockTimeout } from "./OperationError.js"
import * as TableWait from "./TableWait.js"

/** Whether a run goes on after it later, where it stood. */
export const isPause = (error: unknown): boolean =>
  error instanceof LockTimeout ||
  Option.isSome(TableWait.timeoutIn(error)) ||
  (error instanceof DatabaseError && (error.connectionLost || Option.exists(error.code, isPassing)))

/** insufficient_resources, operator_intervention, lock_not_available (PostgreSQL manual, appendix A). */
const isPassing = (code: string): boolean => code.startsWith("53") || code.startsWith("57") || code === "55P03"

/** A wait for a table that took too long reaches a run as the cause of a failed statement; for its caller it is the failure. */
export const asTimeout = <E>(error: E): E | LockTimeout => Option.getOrElse(TableWait.timeoutIn(error), () => error)
