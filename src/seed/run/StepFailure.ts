/**
 * The ways in which a step can end without its work done, and what each means for the run.
 */
import * as Option from "effect/Option"
import { describe } from "../../operation/Attempt.js"
import type {
  AlreadyApplied,
  CommitRefused,
  CommitUnknown,
  LockHeld,
  LockTimeout,
  SwallowedSqlError,
  TransactionControl
} from "../../operation/OperationError.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { StepError } from "../../operation/Transactor.js"
import type { BodyFailed } from "./SeedBody.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import type { SeedFailedElsewhere, SeedInterrupted } from "../SeedReport.js"
import { SeedStepFailed } from "./SeedSequence.js"

/** Failures that the seed itself brought about. */
type SeedsOwn = BodyFailed | TransactionControl | SwallowedSqlError | CommitRefused

/** Every way in which a step can end without its work done. */
export type StepFailure =
  SeedsOwn | DatabaseError | LockTimeout | SeedFailedElsewhere | SeedInterrupted | SeedsInconsistent | CommitUnknown

/** Every way in which the transaction of a step can end without its work done. */
export type Unfinished =
  SeedFailedElsewhere | SeedInterrupted | SeedsInconsistent | BodyFailed | AlreadyApplied | LockHeld | StepError

/** What a step's end means for the run: the seed's own failure, or one of the world around it. */
export const failureOf = (id: string, error: StepFailure): SeedStepFailed | Exclude<StepFailure, SeedsOwn> => {
  switch (error._tag) {
    case "BodyFailed":
      return failureOfBody(id, error)
    case "TransactionControl":
    case "SwallowedSqlError":
    case "CommitRefused":
      return new SeedStepFailed({ id, cause: error })
    case "DatabaseError":
      return error.during(id)
    default:
      return error
  }
}

/** What a body's end means: insufficient_privilege for a statement of ours is no fault of the seed. */
export const failureOfBody = (id: string, { cause }: BodyFailed): SeedStepFailed | DatabaseError =>
  cause instanceof DatabaseError && Option.contains(cause.code, "42501")
    ? cause.during(id)
    : new SeedStepFailed({ id, cause })

/** The failure of a body whose connection is gone, as `error` tells. */
export const lostWithin = ({ cause }: BodyFailed, error: DatabaseError): DatabaseError =>
  new DatabaseError({
    ...error,
    action: "running the seed",
    reason: `the connection was lost, and it ended with: ${describe(cause).message}`,
    cause
  })

const withoutTrace = new Set([
  "LockHeld",
  "AlreadyApplied",
  "SeedFailedElsewhere",
  "SeedInterrupted",
  "SeedsInconsistent"
])

/** Whether a failure is no attempt at the seed. */
export const leavesNoTrace = (error: Unfinished): boolean => withoutTrace.has(error._tag)
