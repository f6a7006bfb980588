/**
 * The JSON document of `event:replay`.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { ReplayPlan, ReplayReport } from "./EventReplay.js"

/** What `event:replay --json` prints. */
export const ReplayDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  dryRun: Schema.Boolean,
  /** The run; null for a dry run. */
  runId: Schema.NullOr(Schema.String),
  subscriber: Schema.String,
  /** How many events are within the bounds. */
  events: Schema.Number,
  delivered: Schema.Number,
  failed: Schema.Number,
  /** The events that were left out, as their stream had failed. */
  skipped: Schema.Number,
  /** The first failures; ids of events are text, as JavaScript cannot hold all of them. */
  failures: Schema.Array(
    Schema.Struct({
      eventId: Schema.String,
      tenantId: Schema.String,
      aggregateId: Schema.String,
      error: Schema.Struct({ _tag: Schema.String, message: Schema.String })
    })
  )
})
export type ReplayDocument = typeof ReplayDocument.Type

/** The document of a plan. */
export const ofPlan = ({ events, subscriber }: ReplayPlan): ReplayDocument => ({
  schemaVersion: 1,
  dryRun: true,
  runId: null,
  subscriber,
  events,
  delivered: 0,
  failed: 0,
  skipped: 0,
  failures: []
})

/** The document of a replay. */
export const ofReport = ({
  delivered,
  failed,
  failures,
  runId,
  skipped,
  subscriber
}: ReplayReport): ReplayDocument => ({
  schemaVersion: 1,
  dryRun: false,
  runId,
  subscriber,
  events: delivered + failed + skipped,
  delivered,
  failed,
  skipped,
  failures: failures.flatMap(({ aggregateId, error, eventId, tenantId }) =>
    Option.toArray(
      Option.map(error, ({ _tag, message }) => ({
        eventId: `${eventId}`,
        tenantId,
        aggregateId,
        error: { _tag, message }
      }))
    )
  )
})
