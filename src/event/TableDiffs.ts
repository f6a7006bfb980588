/**
 * How read tables differ from the fold of their events, as documents say it: those of a comparison, and of a backfill that was verified.
 */
import * as Schema from "effect/Schema"

const Texts = Schema.Array(Schema.String)

const Differing = Schema.Struct({ count: Schema.Number, keys: Texts })

/** Each projection, or several that share tables, with its tables: how many rows differ, and the keys of the first. */
export const TableDiffs = Schema.Array(
  Schema.Struct({
    projections: Texts,
    events: Schema.Number,
    tables: Schema.Array(
      Schema.Struct({ table: Schema.String, missing: Differing, surplus: Differing, different: Differing })
    ),
    deadLetters: Schema.Number
  })
)
export type TableDiffs = typeof TableDiffs.Type
