/**
 * The description of an unknown error as data: its tag, its code, and what a person should read. Reading it never fails, whatever was thrown.
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { AttemptError } from "./Attempt.js"

/** Describes what an operation threw or failed with. */
export const describe = (cause: unknown): AttemptError => {
  const root = rootCause(cause)
  return new AttemptError({
    _tag: truncate(tagOf(cause), nameBytes),
    code: Option.getOrNull(Option.map(codeOf(root), (code) => truncate(code, nameBytes))),
    message: truncate(messageOf(root), messageBytes)
  })
}

/** Bounds of the record as JSON, which has 8 KiB at most. */
const nameBytes = 256
const messageBytes = 7 * 1024

/** Errors that only say that something failed; the reason is the error that they carry. */
const wrappers = new Set(["SqlError", "UnknownException", "WriteFailed", "BodyFailed", "PartFailed"])

/** One of several addresses that were tried (`AggregateError`) stands for all. */
const rootCause = (cause: unknown, depth = 0): unknown => {
  const tag = read(cause, "_tag")
  const inner = read(cause, "cause")
  if (depth < 8 && Predicate.isString(tag) && wrappers.has(tag) && inner !== undefined) {
    return rootCause(inner, depth + 1)
  }
  const [first] = cause instanceof AggregateError ? cause.errors : []
  return first instanceof Error && read(cause, "message") === "" ? first : cause
}

const tagOf = (cause: unknown): string => {
  const named = [read(cause, "_tag"), read(cause, "name")].find((name) => Predicate.isString(name) && name !== "")
  return Predicate.isString(named) ? named : cause === null ? "null" : typeof cause
}

/** A code as drivers and Node have it, or as errors of ours do. */
const codeOf = (cause: unknown): Option.Option<string> => {
  const code = read(cause, "code")
  return Option.filter(Option.isOption(code) ? code : Option.some(code), Predicate.isString)
}

/** The message of an error with those of its causes, or of the errors that it is made of: the last most often says what went wrong. */
const messageOf = (cause: unknown, before: ReadonlyArray<string> = []): string => {
  const message = read(cause, "message")
  if (Predicate.isString(message) && message !== "") {
    const several = before.length < 2 && !before.includes(message) ? severalOf(cause) : []
    if (several.length > 0) {
      const told = [...before, message]
      return `${message}: ${several.map((error) => messageOf(rootCause(error), told)).join("; ")}`
    }
    const behind = rootCause(read(cause, "cause"))
    const isTold = readOr(() => behind instanceof Error, false) && isTellable(behind)
    const told = [...before, message]
    const reason =
      isTold && told.length < 8 && !told.some((text) => text === read(behind, "message")) ? messageOf(behind, told) : ""
    return message.includes(reason) ? message : `${message}: ${reason}`
  }
  if (Predicate.isString(cause)) return cause
  const fields = fieldsOf(cause)
  return fields === "{}" ? readOr(() => String(cause), unreadable) : `${tagOf(cause)} ${fields}`
}

/** The errors of an `AggregateError`, as `Promise.any` rejects with one. */
const severalOf = (cause: unknown): ReadonlyArray<unknown> =>
  readOr(() => (cause instanceof AggregateError ? cause.errors.filter(isTellable).slice(0, 8) : []), [])

/** A ParseError has the value in it that it is about. */
const isTellable = (error: unknown): boolean => read(rootCause(error), "_tag") !== "ParseError"

const unreadable = "an error that cannot be read"

/** What an error that has no message says by its fields. */
const fieldsOf = (cause: unknown): string => {
  if (!Predicate.isRecord(cause)) return "{}"
  const said = readOr(() => Object.entries(cause).filter(([key]) => !unsaid.has(key)), [])
  return readOr(() => JSON.stringify(Object.fromEntries(said)) ?? "{}", "{}")
}

const unsaid = new Set(["_tag", "name", "message", "stack", "cause"])

/** A property of anything; a getter that throws reads as absent. */
const read = (value: unknown, key: string): unknown =>
  Predicate.isObject(value) ? readOr((): unknown => Reflect.get(value, key), undefined) : undefined

const readOr = <A>(get: () => A, fallback: A): A => {
  try {
    return get()
  } catch {
    return fallback
  }
}

/** PostgreSQL's jsonb refuses the NUL character (22P05), and a record of an error has a bound, counted as JSON. */
const truncate = (text: string, bytes: number): string => {
  const clean = text.slice(0, bytes).replaceAll("\u0000", "\uFFFD").toWellFormed()
  const fits = (length: number) => new TextEncoder().encode(JSON.stringify(clean.slice(0, length))).length <= bytes
  if (clean.length === text.length && fits(clean.length)) return clean
  let [low, high] = [0, clean.length]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (fits(middle)) low = middle
    else high = middle - 1
  }
  return `${clean.slice(0, low).toWellFormed()}…`
}
