/**
 * The savepoint of the current fiber: what keeps a part of a step's part from taking a savepoint of its own.
 */
import * as Context from "effect/Context"

/** The savepoint that the current fiber is in: a part of that part belongs to it, and takes no other. */
export class CurrentSavepoint extends Context.Tag("effect-es-ops/CurrentSavepoint")<
  CurrentSavepoint,
  { readonly step: object; readonly ended: boolean }
>() {}
