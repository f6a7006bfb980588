/**
 * A time as the database has it: an instant, or the server's own text (`infinity`, a date in the year 290000) where JavaScript has no instant for it.
 */
import * as DateTime from "effect/DateTime"

/** A time of a row that somebody else may have written. */
export type RecordedTime = DateTime.Utc | string

/** ISO 8601 in UTC, or the text. */
export const format = (time: RecordedTime): string => (typeof time === "string" ? time : DateTime.formatIso(time))
