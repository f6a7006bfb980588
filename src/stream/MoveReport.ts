/**
 * What moving streams did, or would do; while it is under way, it is the cursor of its run.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** A stream that was not moved, by the id of its aggregate, and why. */
export const FailedMove = Schema.Struct({
  id: Schema.String,
  from: Schema.String,
  to: Schema.String,
  error: Schema.Struct({ _tag: Schema.String, message: Schema.String })
})
export type FailedMove = typeof FailedMove.Type

/** Events that came to the source after the move, from a transaction of before; they stand behind the others now. */
export const MovedBehind = Schema.Struct({
  id: Schema.String,
  from: Schema.String,
  to: Schema.String,
  events: Schema.Number
})
export type MovedBehind = typeof MovedBehind.Type

/** The read rows of a projection that were written and removed. */
const Rows = Schema.Struct({
  projection: Schema.String,
  table: Schema.String,
  written: Schema.Number,
  removed: Schema.Number
})

const outcome = {
  /** How many streams were moved. */
  moved: Schema.Number,
  /** How many of those were put together with what the target had. */
  merged: Schema.Number,
  /** How many were on their target already. */
  unchanged: Schema.Number,
  /** How many events moved. */
  events: Schema.Number,
  failed: Schema.Array(FailedMove),
  stragglers: Schema.Array(MovedBehind),
  rows: Schema.Array(Rows),
  /** Projections that are to be rebuilt. */
  outdated: Schema.Array(Schema.String)
}

/** What was done, or would be. */
export const MoveReport = Schema.Struct(outcome)
export type MoveReport = typeof MoveReport.Type

/** How far a run is: the number of moves that are done with, and what became of them. */
export const MoveCursor = Schema.Struct({ at: Schema.Number, ...outcome })
export type MoveCursor = typeof MoveCursor.Type

/** Nothing is done yet. */
export const begin: MoveCursor = {
  at: 0,
  moved: 0,
  merged: 0,
  unchanged: 0,
  events: 0,
  failed: [],
  stragglers: [],
  rows: [],
  outdated: []
}

const decode = Schema.decodeUnknownOption(MoveCursor)

/** The cursor of a run. */
export const cursorOf = (stored: Option.Option<unknown>): MoveCursor =>
  Option.getOrElse(Option.flatMap(stored, decode), () => begin)

/** What a run did so far. */
export const reportOf = ({ at: _at, ...report }: MoveCursor): MoveReport => report
