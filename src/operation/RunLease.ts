/**
 * The lease of a run is renewed while its process works, on another connection than its batches.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { RunCancelled, RunKey, RunLost } from "./Run.js"
import { lease } from "./Run.js"
import type { RunLog } from "./RunLog.js"

/** Renews the lease, until the run is lost or cancelled. A renewal that fails is tried again: what is late is refused batch by batch anyway. */
export const keep = (log: RunLog["Type"], run: RunKey): Effect.Effect<never, RunLost | RunCancelled> =>
  Effect.forever(
    Effect.delay(
      Effect.catchTag(log.renew(run), "DatabaseError", ({ message }) =>
        Effect.logDebug(`The lease was not renewed: ${message}`)
      ),
      Duration.seconds(lease.renewedEach)
    )
  )
