/**
 * What purging streams did, or would do; while it is under way, it is the cursor of its run.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** A stream that was not purged, by the id of its aggregate, and why. */
export const FailedPurge = Schema.Struct({
  id: Schema.String,
  tenantId: Schema.String,
  error: Schema.Struct({ _tag: Schema.String, message: Schema.String })
})
export type FailedPurge = typeof FailedPurge.Type

/** A purged stream that has events, which came from a program that knows nothing of purges. */
export const Left = Schema.Struct({ id: Schema.String, tenantId: Schema.String, events: Schema.Number })
export type Left = typeof Left.Type

/** The read rows of a projection that were written and removed. */
const Rows = Schema.Struct({
  projection: Schema.String,
  table: Schema.String,
  written: Schema.Number,
  removed: Schema.Number
})

/** What was done to the streams of one aggregate type. */
const OfType = Schema.Struct({ type: Schema.String, streams: Schema.Number, events: Schema.Number })

/** The export, as far as it is written and synced. */
const Exported = Schema.Struct({ file: Schema.String, bytes: Schema.Number, events: Schema.Number })

const outcome = {
  /** Those archived before this time, by the clock of the database. */
  before: Schema.String,
  streams: Schema.Number,
  events: Schema.Number,
  types: Schema.Array(OfType),
  snapshots: Schema.Number,
  deadLetters: Schema.Number,
  rows: Schema.Array(Rows),
  /** Projections that are to be rebuilt. */
  outdated: Schema.Array(Schema.String),
  failed: Schema.Array(FailedPurge),
  leftover: Schema.Array(Left),
  /** Transactions that were still open in the end: what they append to purged streams was not looked for. */
  unsettled: Schema.Array(Schema.String),
  export: Schema.NullOr(Exported)
}

/** What was done, or would be. */
export const PurgeReport = Schema.Struct(outcome)
export type PurgeReport = typeof PurgeReport.Type

/** How far a run is: behind which stream, and what it did. */
export const PurgeCursor = Schema.Struct({
  after: Schema.NullOr(Schema.Struct({ tenantId: Schema.String, aggregateId: Schema.String })),
  ...outcome
})
export type PurgeCursor = typeof PurgeCursor.Type

/** Nothing is done yet. */
export const begin = (before: string): PurgeCursor => ({
  after: null,
  before,
  streams: 0,
  events: 0,
  types: [],
  snapshots: 0,
  deadLetters: 0,
  rows: [],
  outdated: [],
  failed: [],
  leftover: [],
  unsettled: [],
  export: null
})

const decode = Schema.decodeUnknownOption(PurgeCursor)

/** The cursor of a run, once it has one. */
export const cursorOf = (stored: Option.Option<unknown>): Option.Option<PurgeCursor> => Option.flatMap(stored, decode)

/** What a run did so far. */
export const reportOf = ({ after: _after, ...report }: PurgeCursor): PurgeReport => report
