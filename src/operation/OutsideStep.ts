/**
 * The failure of what belongs to a step and was asked for outside of one.
 */
import { DatabaseError } from "./OperationError.js"

/** What belongs to a transaction of ours was asked for outside of one. */
export const outsideStep = (action: string): DatabaseError =>
  DatabaseError.because(action, "it belongs to a step: do it inside Transactor.step")
