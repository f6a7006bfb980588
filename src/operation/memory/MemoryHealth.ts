/**
 * `DatabaseHealth` of a `MemoryDatabase`: it has what it needs.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DatabaseHealth } from "../DatabaseHealth.js"
import { fine } from "../HealthFinding.js"

/** A database in memory has what it needs. */
export const layer: Layer.Layer<DatabaseHealth> = Layer.succeed(DatabaseHealth, {
  mismatches: Effect.succeed([]),
  hasSessions: Effect.succeed(true),
  examine: Effect.succeed([fine("connection", "in memory")])
})
