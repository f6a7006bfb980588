/**
 * How far a rebuild is, as it stands in the cursor of its run.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RunHandle } from "../../operation/OperationRun.js"

const Counts = Schema.Struct({ inserted: Schema.Number, updated: Schema.Number, deleted: Schema.Number })

/** What the cut-over did, kept for the report. */
export const Done = Schema.Struct({
  mode: Schema.Literal("merge", "gradual", "swap"),
  rows: Counts,
  ghosts: Schema.Struct({ kept: Schema.Number, deleted: Schema.Number, keys: Schema.Array(Schema.String) }),
  tries: Schema.Number,
  stalledMs: Schema.Number
})
export type Done = typeof Done.Type

export const RebuildState = Schema.Struct({
  /** `bulk`: up to `upTo` is being computed. `rounds`: up to `at` is. `settling`: the live table has taken over. */
  stage: Schema.Literal("bulk", "rounds", "settling"),
  /** Every event up to this one is in the rows of the shadow. */
  at: Schema.BigInt,
  upTo: Schema.BigInt,
  isIndexed: Schema.Boolean,
  /** How often it began anew. */
  anew: Schema.Number,
  /** The tables as they were when it began. */
  shape: Schema.String,
  lanes: Schema.Array(
    Schema.Struct({ name: Schema.String, from: Schema.optional(Schema.String), to: Schema.optional(Schema.String) })
  ),
  done: Schema.optional(Done)
})
export type RebuildState = typeof RebuildState.Type

const encode = Schema.encodeSync(RebuildState)

/** As the cursor has it. */
export const cursorOf = (state: RebuildState): unknown => encode(state)

/** The state of a run that is gone on with. */
export const of = ({ cursor }: RunHandle): Option.Option<RebuildState> =>
  Option.flatMap(cursor, (found) => Schema.decodeUnknownOption(RebuildState)(found))

/** How many events there are, as far as that is known once `more` of them are done: some came since they were counted. */
export const totalWith = ({ current }: RunHandle, more: number): Effect.Effect<number> =>
  Effect.map(current, ({ done, total }) =>
    Math.max(
      done + more,
      Option.getOrElse(total, () => 0)
    )
  )
