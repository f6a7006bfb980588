/**
 * Failures that are one stream's: the others of its batch are gone on with.
 */
import * as Option from "effect/Option"
import type { RefoldError } from "../event/Refold.js"
import { DatabaseError } from "../operation/OperationError.js"

/** What can be wrong with one stream alone. */
export type OfOneStream = Exclude<RefoldError, DatabaseError> | DatabaseError

/** An event cannot be folded, a unique value is taken, or a constraint or a trigger refuses the change. */
export const isOfOneStream = <E extends { readonly _tag: string }>(error: E): error is Extract<E, OfOneStream> => {
  switch (error._tag) {
    case "EventUnreadable":
    case "FoldFailed":
    case "UniqueTaken":
      return true
    default:
      return (
        error instanceof DatabaseError &&
        !error.connectionLost &&
        Option.exists(error.code, (code) => /^(?:22|23|44|P0)/.test(code))
      )
  }
}
