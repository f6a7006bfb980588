/**
 * What a projection's pure functions make of events, with the types of rows and payloads left behind: for the inline apply, rebuilds and moves
 * alike.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { isDeepStrictEqual } from "node:util"
import { describe } from "../operation/ErrorDescription.js"
import * as FieldErrors from "../operation/FieldErrors.js"
import type { Event } from "./Event.js"
import type { AnyEventType, EventUnreadable, TypedEvent } from "./EventType.js"
import { undeclared } from "./EventType.js"
import type { NotJson } from "./JsonValue.js"
import { toJson } from "./JsonValue.js"
import { keyText } from "./ReadTables.js"
import type { Key, RowTable, StoredRow, Table } from "./Table.js"

/** The function of a projection failed for an event, or gave a row that its table does not take. */
export class FoldFailed extends Schema.TaggedError<FoldFailed>()("FoldFailed", {
  table: Schema.String,
  /** The event that was folded; none where a stored row cannot be read. */
  eventId: Schema.Option(Schema.BigInt),
  reason: Schema.String
}) {
  override get message(): string {
    const at = Option.match(this.eventId, { onNone: () => "a stored row", onSome: (id) => `event ${id}` })
    return `${at} cannot be folded into ${this.table}: ${this.reason}`
  }
}

/** Why an event is not folded: it cannot be read, or the projection fails for it. */
export type FoldError = EventUnreadable | FoldFailed

/** A row that events are folded into, one after another, in the order of their stream. */
export interface Folding {
  readonly add: (event: Event) => Either.Either<void, FoldError>
  /** The row as it is now; none where it is to be removed. */
  readonly row: () => Either.Either<Option.Option<StoredRow>, FoldFailed>
}

/** A fold: the events of one key make one row. */
export interface Fold {
  readonly _tag: "Fold"
  readonly table: Table
  /** Whether the key is the aggregate's id, so that the events of one aggregate are all that a row needs. */
  readonly byAggregate: boolean
  readonly keyOf: (event: Event) => Either.Either<Key, FoldError>
  /** Begins with the row that is stored, or with none. */
  readonly begin: (key: Key, row: Option.Option<StoredRow>) => Either.Either<Folding, FoldFailed>
}

/** Rows of events: each event gives rows by itself. */
export interface Rows {
  readonly _tag: "Rows"
  readonly table: Table
  readonly rowsOf: (event: Event) => Either.Either<ReadonlyArray<StoredRow>, FoldError>
}

/** What a rebuild can compute without running `apply`. */
export type Definition = Fold | Rows

/** An event of any of the types that something is declared for. */
export type AnyEvent = TypedEvent<string, unknown>

/** What is declared for each event type. */
export type Declared<F> = ReadonlyArray<readonly [type: AnyEventType, use: F]>

/** Makes a fold of a function for each event type. The key is the aggregate's id unless `key` says otherwise. */
export const fold = <A, I, K extends string>(
  table: RowTable<A, I, K>,
  key: ((event: AnyEvent) => Key) | undefined,
  on: Declared<(row: Option.Option<A>, event: AnyEvent) => Option.Option<A>>
): Fold => {
  const read = reading(on)
  const encode = storedBy(table)
  const decode = rowBy(table)
  return {
    _tag: "Fold",
    table,
    byAggregate: key === undefined,
    keyOf: (event) =>
      key === undefined
        ? Either.right({ [table.primaryKey[0]]: event.aggregateId })
        : Either.flatMap(read(event), ([, typed]) => attempt(table, event, () => key(typed))),
    begin: (own, stored) =>
      Either.map(decode(stored), (first): Folding => {
        let current = first
        let last: Event | undefined
        return {
          add: (event) =>
            Either.flatMap(read(event), ([next, typed]) =>
              attempt(table, event, () => {
                current = next(current, typed)
                last = event
              })
            ),
          row: () => {
            if (Option.isNone(current)) return Either.right(Option.none())
            const row = encode(current.value, last, stored)
            return Either.isRight(row) && !hasKey(table, row.right, own)
              ? Either.left(failed(table, last, `it gave a row of another key, ${keyText(table, row.right)}`))
              : Either.map(row, Option.some)
          }
        }
      })
  }
}

/** Makes rows of a function for each event type. */
export const rows = <A, I, K extends string>(
  table: RowTable<A, I, K>,
  on: Declared<(event: AnyEvent) => ReadonlyArray<A>>
): Rows => {
  const read = reading(on)
  const encode = storedBy(table)
  return {
    _tag: "Rows",
    table,
    rowsOf: (event) =>
      Either.flatMap(
        Either.flatMap(read(event), ([give, typed]) => attempt(table, event, () => give(typed))),
        (given) => {
          const stored: Array<StoredRow> = []
          for (const row of given) {
            const encoded = encode(row, event, Option.none())
            if (Either.isLeft(encoded)) return Either.left(encoded.left)
            stored.push(encoded.right)
          }
          return Either.right(stored)
        }
      )
  }
}

/** Reads an event by its type, and gives the function for it. An event of another type cannot be read. */
const reading = <F>(on: Declared<F>) => {
  const byType = new Map(on.map((each) => [each[0].type, each]))
  return (event: Event): Either.Either<readonly [F, AnyEvent], EventUnreadable> => {
    const [type, use] = byType.get(event.type) ?? []
    if (type === undefined || use === undefined) return Either.left(undeclared(event))
    // What was appended right now is of today's version; the type itself says what is wrong with the rest.
    const payload = event.eventVersion === type.version ? type.decode(event.payload) : undefined
    return payload !== undefined && Either.isRight(payload)
      ? Either.right([use, { ...event, payload: payload.right }])
      : Either.map(type.read(event), (typed) => [use, typed])
  }
}

const failed = (table: Table, event: Event | undefined, reason: string): FoldFailed =>
  new FoldFailed({ table: table.name, eventId: Option.map(Option.fromNullable(event), ({ id }) => id), reason })

/** Runs a function of the application's, which may throw. */
const attempt = <B>(table: Table, event: Event, use: () => B): Either.Either<B, FoldFailed> =>
  Either.try({ try: use, catch: (error) => failed(table, event, describe(error).message) })

/** A row as the application sees it. A live table may have columns that its Schema does not know. */
const rowBy = <A, I, K extends string>(table: RowTable<A, I, K>) => {
  const decode = ParseResult.decodeUnknownEither(table.row)
  return (stored: Option.Option<StoredRow>): Either.Either<Option.Option<A>, FoldFailed> => {
    if (Option.isNone(stored)) return Either.right(Option.none())
    const known = table.columns.filter(({ name }) => name in stored.value)
    return Either.mapBoth(decode(Object.fromEntries(known.map(({ name }) => [name, stored.value[name]]))), {
      onLeft: (issue) => failed(table, undefined, FieldErrors.lines(issue)),
      onRight: Option.some
    })
  }
}

/** A row as it is stored. */
const storedBy = <A, I, K extends string>(table: RowTable<A, I, K>) => {
  const encode: (row: unknown) => Either.Either<unknown, ParseResult.ParseIssue> = ParseResult.encodeUnknownEither(
    table.row
  )
  return (row: A, event: Event | undefined, before: Option.Option<StoredRow>): Either.Either<StoredRow, FoldFailed> => {
    const encoded = encode(row)
    if (Either.isLeft(encoded)) return Either.left(failed(table, event, FieldErrors.lines(encoded.left)))
    if (!Predicate.isReadonlyRecord(encoded.right))
      return Either.left(failed(table, event, "it gave a row that is no record of columns"))
    return isFlat(encoded.right)
      ? Either.right(encoded.right)
      : Either.mapLeft(
          asJson(
            encoded.right,
            Option.getOrElse(before, () => ({}))
          ),
          ({ message }) => failed(table, event, message)
        )
  }
}

/** The row as JSON. What it has of the row before may be what JavaScript made of JSON that it cannot hold: it is not written. */
const asJson = (row: StoredRow, before: StoredRow): Either.Either<StoredRow, NotJson> =>
  Either.all(
    Object.fromEntries(
      Object.entries(row)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => [
          name,
          isDeepStrictEqual(value, before[name]) ? Either.right(value) : toJson(value, `row.${name}`)
        ])
    )
  )

/** Whether a row is JSON at a glance. The rest is looked at by `toJson`. */
const isFlat = (row: StoredRow): boolean =>
  Object.values(row).every((value) =>
    typeof value === "string"
      ? value.isWellFormed() && !value.includes("\u0000")
      : value === null || typeof value === "boolean" || Number.isFinite(value)
  )

const hasKey = (table: Table, row: StoredRow, key: Key): boolean =>
  table.primaryKey.every((name) => row[name] === key[name]) || keyText(table, row) === keyText(table, key)
