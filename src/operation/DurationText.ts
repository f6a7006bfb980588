/**
 * The text of a duration, as settings and the command line have it.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

const units = { ms: "millis", s: "seconds", m: "minutes", h: "hours", d: "days" } as const

/** Reads a duration as people write it, `30s`, `500ms`, `5m`, or as Effect does, `"30 seconds"`; none if it is neither, or negative. */
export const parseDuration = (value: unknown): Option.Option<Duration.Duration> => {
  // Effect makes nothing of what is negative.
  if (typeof value === "number" && !(value >= 0)) return Option.none()
  if (typeof value !== "string") return Duration.decodeUnknown(value)
  const text = value.trim()
  const [, amount = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(text) ?? []
  const known = Object.entries(units).find(([short]) => short === unit)?.[1]
  if (text.startsWith("-")) return Option.none()
  return Duration.decodeUnknown(known === undefined ? text : `${amount} ${known}`)
}
