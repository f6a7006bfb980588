/**
 * What a projection's pure functions make of events, with the types of rows and payloads left behind: for the inline apply, rebuilds and moves
 * alike.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { describe } from "../operation/ErrorDescription.js"
import * as FieldErrors from "../operation/FieldErrors.js"
import type { Event } from "./Event.js"
import type { AnyEventType, EventUnreadable } from "./EventType.js"
import { undeclared } from "./EventType.js"
import { keyText } from "./ReadTables.js"
import type { Key, RowTable, StoredRow, Table } from "./Table.js"

/** The function of a projection failed for an event, or gave a row that its table does not take. */
export class FoldFailed extends Schema.TaggedError<FoldFailed>()("FoldFailed", {
  table: Schema.String,
  /** The event that was folded; none where a stored row cannot be read. */
  eventId: Schema.Option(Schema.BigIntFromSelf),
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

/** Reads an event by its type, and gives it to what is declared for it. */
export interface Reader<out B> {
  readonly read: (event: Event) => Either.Either<B, FoldError>
}

/** The functions of a fold for one event, once the event was read. */
export interface FoldStep<in out A> {
  readonly key: () => Key
  readonly fold: (row: Option.Option<A>) => Option.Option<A>
}

/** Makes a fold whose events are read by `reader`. */
export const fold = <A, I, K extends string>(
  table: RowTable<A, I, K>,
  byAggregate: boolean,
  reader: Reader<FoldStep<A>>
): Fold => {
  const decode = ParseResult.decodeUnknownEither(table.row)
  const encode = storedBy(table)
  return {
    _tag: "Fold",
    table,
    byAggregate,
    keyOf: (event) => Either.flatMap(reader.read(event), ({ key }) => attempt(table, event, key)),
    begin: (key, row) =>
      Either.map(
        Option.match(row, {
          onNone: () => Either.right(Option.none<A>()),
          onSome: (stored) =>
            Either.mapBoth(decode(known(table, stored)), {
              onLeft: (issue) => failed(table, Option.none(), FieldErrors.lines(issue)),
              onRight: Option.some
            })
        }),
        (first): Folding => {
          let current = first
          let last: Event | undefined
          return {
            add: (event) =>
              Either.map(
                Either.flatMap(reader.read(event), (step) => attempt(table, event, () => step.fold(current))),
                (next) => {
                  last = event
                  current = next
                }
              ),
            row: () => {
              if (Option.isNone(current)) return Either.right(Option.none())
              const stored = encode(current.value, last)
              if (Either.isLeft(stored)) return Either.left(stored.left)
              return keyText(table, stored.right) === keyText(table, key)
                ? Either.right(Option.some(stored.right))
                : Either.left(
                    failed(table, idOf(last), `it gave a row of another key, ${keyText(table, stored.right)}`)
                  )
            }
          }
        }
      )
  }
}

/** Makes rows of events that are read by `reader`. */
export const rows = <A, I, K extends string>(
  table: RowTable<A, I, K>,
  reader: Reader<() => ReadonlyArray<A>>
): Rows => {
  const encode = storedBy(table)
  return {
    _tag: "Rows",
    table,
    rowsOf: (event) =>
      Either.flatMap(
        Either.flatMap(reader.read(event), (give) => attempt(table, event, give)),
        (given) => Either.all(given.map((row) => encode(row, event)))
      )
  }
}

/** A reader of one event type: `use` gets the event as its type has it. */
export const readerOf = <E extends { readonly id: bigint }, B>(
  type: { readonly read: (event: Event) => Either.Either<E, EventUnreadable> },
  use: (event: E) => B
): Reader<B> => ({ read: (event) => Either.map(type.read(event), use) })

/** A reader of several types. An event of another type is not given to it. */
export const united = <B>(readers: ReadonlyMap<string, Reader<B>>): Reader<B> => ({
  read: (event) => readers.get(event.type)?.read(event) ?? Either.left(undeclared(event))
})

/** The types that cannot be used, and those that are there twice. */
export const problemsOf = (types: ReadonlyArray<AnyEventType>): ReadonlyArray<string> =>
  types.filter(({ type }, at) => types.findIndex((other) => other.type === type) !== at).map(({ type }) => type)

const failed = (table: Table, eventId: Option.Option<bigint>, reason: string): FoldFailed =>
  new FoldFailed({ table: table.name, eventId, reason })

const idOf = (event: Event | undefined): Option.Option<bigint> => Option.map(Option.fromNullable(event), ({ id }) => id)

/** Runs a function of the application's, which may throw. */
const attempt = <B>(table: Table, event: Event, use: () => B): Either.Either<B, FoldFailed> =>
  Either.try({ try: use, catch: (error) => failed(table, Option.some(event.id), describe(error).message) })

/** The columns of a row that its Schema may know: a live table may have more. */
const known = (table: Table, row: StoredRow): StoredRow =>
  Object.fromEntries(table.columns.filter(({ name }) => name in row).map(({ name }) => [name, row[name]]))

/** A row as it is stored. */
const storedBy = <A, I, K extends string>(table: RowTable<A, I, K>) => {
  const encode: (row: unknown) => Either.Either<unknown, ParseResult.ParseIssue> = ParseResult.encodeUnknownEither(
    table.row
  )
  return (row: A, event: Event | undefined): Either.Either<StoredRow, FoldFailed> => {
    const encoded = encode(row)
    if (Either.isLeft(encoded)) return Either.left(failed(table, idOf(event), FieldErrors.lines(encoded.left)))
    return Predicate.isReadonlyRecord(encoded.right)
      ? Either.right(encoded.right)
      : Either.left(failed(table, idOf(event), "it gave a row that is no record of columns"))
  }
}
