/**
 * The tables of projections whose rows may not be what the events say any more: noted in the transaction of the fiber, until they are rebuilt.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DatabaseError } from "../operation/OperationError.js"

/** The port of that note. */
export class OutdatedTables extends Context.Tag("effect-es-ops/OutdatedTables")<
  OutdatedTables,
  {
    /** Notes that the tables of these projections, by their names, are outdated. */
    readonly mark: (projections: NonEmptyReadonlyArray<string>) => Effect.Effect<void, DatabaseError>
  }
>() {}
