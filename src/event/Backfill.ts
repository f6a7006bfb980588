/**
 * A backfill: how rows from before event sourcing become events, one stream for each row, with their own dates.
 */
import * as Either from "effect/Either"
import type * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { describe } from "../operation/ErrorDescription.js"
import * as FieldErrors from "../operation/FieldErrors.js"
import type { Payload } from "./Event.js"
import { systemTenantId } from "./Event.js"
import type { EventType } from "./EventType.js"

/** A row that gives no events: it does not fit its Schema, or what is made of it cannot be stored. */
export class RowInvalid extends Schema.TaggedError<RowInvalid>()("RowInvalid", { reason: Schema.String }) {
  override get message(): string {
    return this.reason
  }
}

/** An event of a row, with the date at which it happened, and who caused it. */
export interface BackfillEvent {
  readonly type: string
  /** The version of the payload's shape. Default: 1. */
  readonly eventVersion?: number | undefined
  /** A JSON object; what is `json(text)` in it is stored as that text says, digit by digit. */
  readonly payload: Payload
  readonly occurredAt: Date
  readonly createdBy: string
}

/** A piece of JSON as text: numbers that JavaScript would change stay as they are. */
export class JsonText {
  constructor(readonly text: string) {}
}

/** JSON that is copied as it is: select a column as text, such as `document::text`, to get it so. */
export const json = (text: string): JsonText => new JsonText(text)

/** Rows of a table, or of a query, that have a column with a unique key; rows are locked for as long as their events are appended. */
export interface SqlSource {
  readonly _tag: "Sql"
  readonly from: { readonly table: string } | { readonly query: string }
  /** The column that names a row, unique and never changed. */
  readonly key: string
}

/** Rows from elsewhere, in the order of their keys. */
export interface RowsSource<out E = unknown, out R = unknown> {
  readonly _tag: "Rows"
  /** The rows behind a key: all without one. */
  readonly rows: (after: Option.Option<string>) => Stream.Stream<unknown, E, R>
  readonly keyOf: (row: unknown) => Either.Either<string, RowInvalid>
}

/** A source with the type of its rows. */
export interface Source<out Row, out E = never, out R = never> {
  readonly from: SqlSource | RowsSource<E, R>
  readonly read: (row: unknown) => Either.Either<Row, RowInvalid>
}

/** The stream of a row. */
export interface BackfillStream {
  readonly tenantId: string
  readonly aggregateId: string
  readonly events: ReadonlyArray<BackfillEvent>
}

/** A backfill of any rows, as a feature holds it. */
export interface Backfill<out E = unknown, out R = unknown> {
  readonly name: string
  /** The aggregate type of its streams. */
  readonly aggregateType: string
  readonly source: SqlSource | RowsSource<E, R>
  /** The stream of the row with this key. Pure. */
  readonly toStream: (key: string, row: unknown) => Either.Either<BackfillStream, RowInvalid>
  /** The text of its functions. */
  readonly code: string
}

/** Rows of a table, by the unique column `key`. `row` is the Schema of a row as the driver gives it. */
export const table = <Row, I>(options: {
  /** Its name, with a schema before it if that is needed: `legacy.orders`. */
  readonly table: string
  readonly key: string
  readonly row: Schema.Schema<Row, I>
}): Source<Row> => ({
  from: { _tag: "Sql", from: { table: options.table }, key: options.key },
  read: reading(options.row)
})

/** Rows of a query without ORDER BY and LIMIT, by the unique column `key` of its answer. */
export const query = <Row, I>(options: {
  readonly query: string
  readonly key: string
  readonly row: Schema.Schema<Row, I>
}): Source<Row> => ({
  from: { _tag: "Sql", from: { query: options.query }, key: options.key },
  read: reading(options.row)
})

/** Rows of a Stream, from elsewhere: `rows` is asked for those behind a key, in the order of keys, and may be asked again. */
export const rows = <Row, I, E, R>(options: {
  readonly row: Schema.Schema<Row, I>
  readonly rows: (after: Option.Option<string>) => Stream.Stream<I, E, R>
  readonly key: (row: Row) => string
}): Source<Row, E, R> => {
  const read = reading(options.row)
  return {
    from: { _tag: "Rows", rows: options.rows, keyOf: (row) => Either.map(read(row), options.key) },
    read
  }
}

/** An event of an event type, with its payload checked by the compiler. Throws for a payload that the type cannot encode, which fails its row. */
export const event = <Type extends string, A, I>(
  type: EventType<Type, A, I>,
  { createdBy, occurredAt, payload }: { readonly payload: A; readonly occurredAt: Date; readonly createdBy: string }
): BackfillEvent => {
  const encoded: unknown = ParseResult.encodeUnknownSync(type.payload)(payload)
  if (!Predicate.isReadonlyRecord(encoded)) throw new TypeError(`a payload of ${type.type} is no JSON object`)
  return { type: type.type, eventVersion: type.version, payload: encoded, occurredAt, createdBy }
}

/**
 * Makes a backfill. `toEvents` is pure and gives the events of one new stream; a row that gives none is passed over. The stream's id is the row's key where that
 * is a UUID, and follows from name and key otherwise.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Backfill, EventType } from "effect-es-ops"
 *
 * const placed = EventType.make({ type: "order.placed", payload: Schema.Struct({ sku: Schema.String }) })
 *
 * export const orders = Backfill.make({
 *   name: "legacy-orders",
 *   aggregateType: "order",
 *   source: Backfill.table({
 *     table: "legacy_orders",
 *     key: "id",
 *     row: Schema.Struct({ sku: Schema.String, placed_at: Schema.DateFromSelf, placed_by: Schema.String })
 *   }),
 *   toEvents: ({ placed_at, placed_by, sku }) => [
 *     Backfill.event(placed, { payload: { sku }, occurredAt: placed_at, createdBy: placed_by })
 *   ]
 * })
 * ```
 */
export const make = <Row, E = never, R = never>(options: {
  readonly name: string
  readonly aggregateType: string
  readonly source: Source<Row, E, R>
  readonly toEvents: (row: Row) => ReadonlyArray<BackfillEvent>
  /** The tenant of the row's stream. Default: the system tenant. */
  readonly tenantOf?: ((row: Row) => string) | undefined
  /** The id of the row's stream, where it is not to follow from the key. */
  readonly aggregateIdOf?: ((row: Row) => string) | undefined
}): Backfill<E, R> => {
  const { aggregateIdOf, name, source, tenantOf, toEvents } = options
  return {
    name,
    aggregateType: options.aggregateType,
    source: source.from,
    code: [toEvents, tenantOf, aggregateIdOf].map(String).join("\n"),
    toStream: (key, row) =>
      Either.flatMap(source.read(row), (read) =>
        Either.try({
          try: () => ({
            tenantId: (tenantOf?.(read) ?? systemTenantId).toLowerCase(),
            aggregateId: (aggregateIdOf?.(read) ?? streamId(name, key)).toLowerCase(),
            events: toEvents(read)
          }),
          catch: (error) => new RowInvalid({ reason: `toEvents failed: ${describe(error).message}` })
        })
      )
  }
}

const uuid = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i

/** The id of the stream of a row: its key, or a UUID that follows from backfill and key (RFC 9562, version 8). */
export const streamId = (name: string, key: string): string => {
  if (uuid.test(key)) return key.toLowerCase()
  const hash = createHash("sha256").update(`${name}\n${key}`).digest("hex")
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}

const reading = <Row, I>(schema: Schema.Schema<Row, I>): ((row: unknown) => Either.Either<Row, RowInvalid>) => {
  const decode = ParseResult.decodeUnknownEither(schema)
  return (row) => Either.mapLeft(decode(row), (issue) => new RowInvalid({ reason: FieldErrors.lines(issue) }))
}
