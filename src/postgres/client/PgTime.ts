/**
 * Times as they are selected: as text, as drivers differ in what they make of them, and as JavaScript has no instant for some of them.
 */
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import type { RecordedTime } from "../../operation/RecordedTime.js"

/** Milliseconds since the epoch, or the server's text where no `Date` can hold the time: past the year 275760, or infinite. */
export const text = (column: string): string =>
  `CASE WHEN NOT isfinite(${column}) THEN ${column}::text
    WHEN ${column} < to_timestamp(8640000000000) THEN (extract(epoch FROM ${column}) * 1000)::bigint::text
    ELSE to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END`

/** A column so, by its own name. */
export const select = (column: string): string => `${text(column)} AS ${column}`

/** The time that such a text is. */
export const timeOf = (selected: string): RecordedTime => {
  const milliseconds = Number(selected)
  return Number.isNaN(milliseconds) ? selected : DateTime.unsafeMake(milliseconds)
}

/** The column that is selected so. */
export const Column = Schema.transform(Schema.String, Schema.Union(Schema.DateTimeUtcFromSelf, Schema.String), {
  strict: true,
  decode: timeOf,
  encode: (time) => (typeof time === "string" ? time : `${DateTime.toEpochMillis(time)}`)
})
