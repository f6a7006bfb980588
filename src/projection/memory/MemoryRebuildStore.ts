/**
 * `RebuildStore` in memory.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DatabaseError } from "../../operation/OperationError.js"
import { RebuildStore } from "../RebuildStore.js"

const unavailable = Effect.fail(DatabaseError.because("rebuilding a read table", "there is no rebuild in memory yet"))

/** `RebuildStore` in memory. */
export const layer: Layer.Layer<RebuildStore> = Layer.succeed(
  RebuildStore,
  RebuildStore.of({
    inspect: () => unavailable,
    rebuild: () => unavailable,
    diff: () => unavailable,
    drop: () => Effect.void
  })
)
