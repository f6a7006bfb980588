/**
 * One try at one operation, as it is kept in `es_ops_attempts`: when, by whom, with what outcome, and why it failed.
 */
import type * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { OperationId } from "./Operation.js"

/** How a try ended. `running` is the one that has not ended yet. */
export const AttemptOutcome = Schema.Literal(
  "running",
  "applied",
  "failed",
  "skipped",
  "interrupted",
  "marked",
  "unmarked"
)
export type AttemptOutcome = typeof AttemptOutcome.Type

/** What is kept of an error: no stack, and no row values (PostgreSQL's `detail` and `where` are left out). */
export class AttemptError extends Schema.Class<AttemptError>("effect-es-ops/AttemptError")({
  _tag: Schema.String,
  code: Schema.NullOr(Schema.String),
  message: Schema.String
}) {}

export interface Attempt {
  /** Order of recording in this database. */
  readonly id: number
  readonly operationId: OperationId
  readonly operationType: string
  /** 1 for the first try at this operation, 2 for the second, … */
  readonly attempt: number
  readonly outcome: AttemptOutcome
  readonly startedAt: DateTime.Utc
  readonly endedAt: Option.Option<DateTime.Utc>
  /** Whole milliseconds of the body. */
  readonly durationMs: Option.Option<number>
  /** Whole milliseconds of waiting for the lock. */
  readonly waitedMs: Option.Option<number>
  readonly appliedBy: string
  readonly host: string
  readonly pid: number
  /** The application's version, where it is known. */
  readonly version: Option.Option<string>
  readonly sourceHash: Option.Option<string>
  readonly reason: Option.Option<string>
  readonly error: Option.Option<AttemptError>
}

/** An attempt to be recorded; the log gives it its id and its number. */
export type NewAttempt = Omit<Attempt, "id" | "attempt">

const maxMessageBytes = 7 * 1024

/** What an operation threw or failed with, as data: whatever it is, reading it never fails. */
export const describe = (cause: unknown): AttemptError => {
  const root = rootCause(cause)
  return new AttemptError({
    _tag: tagOf(cause),
    code: Option.getOrNull(codeOf(root)),
    message: truncate(messageOf(root))
  })
}

/**
 * Wrappers such as `SqlError` say only that a statement failed; the reason is the error they carry. One of several addresses that were
 * tried (`AggregateError`) stands for all.
 */
const rootCause = (cause: unknown): unknown => {
  const root =
    read(cause, "_tag") === "SqlError" && read(cause, "cause") instanceof Error ? read(cause, "cause") : cause
  const [first] = root instanceof AggregateError ? root.errors : []
  return first instanceof Error && read(root, "message") === "" ? first : root
}

const tagOf = (cause: unknown): string => {
  const named = [read(cause, "_tag"), read(cause, "name")].find((name) => Predicate.isString(name) && name !== "")
  return truncate(Predicate.isString(named) ? named : cause === null ? "null" : typeof cause)
}

const codeOf = (cause: unknown): Option.Option<string> =>
  Option.filter(Option.some(read(cause, "code")), Predicate.isString).pipe(Option.map(truncate))

const messageOf = (cause: unknown): string => {
  const message = read(cause, "message")
  if (Predicate.isString(message) && message !== "") return message
  if (Predicate.isString(cause)) return cause
  return readOr(() => String(cause), "an error that cannot be read")
}

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

/** PostgreSQL's jsonb refuses the NUL character (22P05), and a record of an error has a bound. */
const truncate = (text: string): string => {
  const clean = text.replaceAll("\u0000", "\uFFFD").toWellFormed()
  const bytes = new TextEncoder().encode(clean)
  return bytes.length <= maxMessageBytes ? clean : `${new TextDecoder().decode(bytes.subarray(0, maxMessageBytes))}…`
}
