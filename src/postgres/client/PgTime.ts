/**
 * Times as they are selected: as text, as drivers differ in what they make of them, and as JavaScript has no instant for some of them.
 */
import * as Schema from "effect/Schema"

/** Milliseconds since the epoch, or the server's text where no `Date` can hold the time: past the year 275760, or infinite. */
export const text = (column: string): string =>
  `CASE WHEN NOT isfinite(${column}) THEN ${column}::text
    WHEN ${column} < to_timestamp(8640000000000) THEN (extract(epoch FROM ${column}) * 1000)::bigint::text
    ELSE to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END`

/** A column so, by its own name. */
export const select = (column: string): string => `${text(column)} AS ${column}`

/** The column that is selected so, as a `RecordedTime`. */
export const Column = Schema.Union(Schema.compose(Schema.NumberFromString, Schema.DateTimeUtcFromNumber), Schema.String)
