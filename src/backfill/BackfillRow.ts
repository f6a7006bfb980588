/**
 * What becomes of a row: its events are appended, are there already, were made of another row, or cannot be appended. Pure.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"
import type { Backfill, BackfillEvent, BackfillStream } from "../event/Backfill.js"
import { JsonText, RowInvalid } from "../event/Backfill.js"
import { toJson } from "../event/JsonValue.js"
import { describe } from "../operation/ErrorDescription.js"
import type { DatedEvent, KnownStream, SourceRow } from "./BackfillStore.js"

/** A row with the stream that it gives. */
export interface RowStream {
  readonly key: string
  readonly stream: Either.Either<DatedStream, RowInvalid>
}

/** The events of a row as they are appended. */
export interface DatedStream extends Pick<BackfillStream, "tenantId" | "aggregateId"> {
  /** What a later run compares: another one is of a row that was changed. */
  readonly digest: string
  readonly events: ReadonlyArray<DatedEvent>
}

/** What is to be done with a row, and of which types its events are. */
export type Verdict =
  | {
      readonly _tag: "Append"
      readonly key: string
      readonly types: ReadonlySet<string>
      readonly events: ReadonlyArray<DatedEvent>
    }
  | { readonly _tag: "Done" | "Changed"; readonly key: string; readonly types: ReadonlySet<string> }
  | { readonly _tag: "Failed"; readonly key: string; readonly error: RowInvalid }

/** The streams of rows. `toEvents` is asked twice for the first of them, as it has to give the same. */
export const streamsOf = (backfill: Backfill, rows: ReadonlyArray<SourceRow>): ReadonlyArray<RowStream> =>
  rows.map(({ key, row }, at) => {
    const stream = streamOf(backfill, key, row)
    if (at > 0 || Either.isLeft(stream)) return { key, stream }
    const again = streamOf(backfill, key, row)
    const isSame = Either.isRight(again) && again.right.digest === stream.right.digest
    return {
      key,
      stream: isSame ? stream : invalid("toEvents gives different events each time it is asked: it has to be pure")
    }
  })

/** What is to be done with a row, by what is known of its stream. */
export const verdict = (
  { key, stream }: RowStream,
  name: string,
  known: KnownStream | undefined,
  now: Date
): Verdict => {
  if (Either.isLeft(stream)) return { _tag: "Failed", key, error: stream.left }
  const { digest, events } = stream.right
  const failed = (reason: string): Verdict => ({ _tag: "Failed", key, error: new RowInvalid({ reason }) })
  const { aggregateId } = stream.right
  const types = new Set(events.map(({ type }) => type))
  if (events.length === 0) return { _tag: "Done", key, types }
  const headers = Option.flatMapNullable(Option.fromNullable(known), ({ headers }) => Option.getOrUndefined(headers))
  // A stream that was moved since is where it is: the row is appended once, whatever its tenant.
  const own = [...Option.toArray(headers), ...(known?.backfilled ?? [])].find(
    ({ backfill, backfillKey }) => backfill === name && backfillKey === key
  )
  if (own !== undefined) return { _tag: own["backfillDigest"] === digest ? "Done" : "Changed", key, types }
  if (Option.isSome(headers)) return taken(name, key, aggregateId)
  if (known?.isPurged === true) return failed(`stream ${aggregateId} was purged: its id does not come back`)
  if (known?.isArchived === true) return failed(`stream ${aggregateId} is archived`)
  const future = events.find(({ createdAt }) => createdAt > now)
  return future === undefined
    ? { _tag: "Append", key, types, events }
    : failed(`the date of ${future.type} is in the future: ${future.createdAt.toISOString()}`)
}

/** Its stream is another's. */
export const taken = (name: string, key: string, aggregateId: string): Verdict => ({
  _tag: "Failed",
  key,
  error: new RowInvalid({ reason: `stream ${aggregateId} exists and is not of this row of backfill "${name}"` })
})

const invalid = (reason: string) => Either.left(new RowInvalid({ reason }))

const streamOf = (backfill: Backfill, key: string, row: unknown): Either.Either<DatedStream, RowInvalid> =>
  Either.flatMap(backfill.toStream(key, row), ({ aggregateId, events, tenantId }) =>
    Either.flatMap(Either.all([uuidOf("aggregate id", aggregateId), uuidOf("tenant", tenantId)]), () =>
      Either.map(Either.all(events.map(textOf)), (payloads) => {
        const parts = events.map(({ createdBy, eventVersion, occurredAt, type }, at) => [
          type,
          eventVersion ?? 1,
          payloads[at],
          occurredAt.toISOString(),
          createdBy
        ])
        const digest = createHash("sha256").update(JSON.stringify(parts)).digest("hex")
        const headers = { backfill: backfill.name, backfillKey: key, backfillDigest: digest }
        return {
          tenantId,
          aggregateId,
          digest,
          events: events.map((event, at) => ({
            tenantId,
            aggregateId,
            aggregateType: backfill.aggregateType,
            version: at + 1,
            type: event.type,
            eventVersion: event.eventVersion ?? 1,
            payload: payloads[at] ?? "{}",
            metadata: { userId: event.createdBy, headers },
            createdAt: event.occurredAt,
            createdBy: event.createdBy
          }))
        }
      })
    )
  )

const uuid = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/

const uuidOf = (what: string, text: string): Either.Either<string, RowInvalid> =>
  uuid.test(text) ? Either.right(text) : invalid(`its ${what} is no UUID: ${JSON.stringify(text)}`)

/** The payload as text of JSON, its keys in order, with the pieces that are JSON already as they are. */
const textOf = ({ createdBy, occurredAt, payload, type }: BackfillEvent): Either.Either<string, RowInvalid> => {
  if (Number.isNaN(occurredAt.getTime())) return invalid(`${type} has no date`)
  if (!createdBy.isWellFormed() || createdBy.includes("\u0000"))
    return invalid(`${type} is created by no storable text`)
  const pieces: Array<string> = []
  const outside = replaced(payload, (piece) => {
    pieces.push(piece.text)
    return null
  })
  const kept = toJson(outside, `payload of ${type}`)
  if (Either.isLeft(kept)) return invalid(kept.left.message)
  const bad = pieces.find((piece) => !isJsonText(piece))
  return bad === undefined ? Either.right(written(payload)) : invalid(`payload of ${type} has a text that is no JSON`)
}

const isJsonText = (text: string): boolean =>
  Either.isRight(Either.try({ try: () => JSON.parse(text), catch: (error) => describe(error) }))

const replaced = (value: unknown, piece: (json: JsonText) => unknown): unknown => {
  if (value instanceof JsonText) return piece(value)
  if (Array.isArray(value)) return value.map((each) => replaced(each, piece))
  return isPlain(value)
    ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, replaced(each, piece)]))
    : value
}

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype

/** As `JSON.stringify`, for what was found to be JSON. */
const written = (value: unknown): string => {
  if (value instanceof JsonText) return value.text
  if (Array.isArray(value)) return `[${value.map(written).join(",")}]`
  if (!isPlain(value)) return JSON.stringify(value)
  const members = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .toSorted()
    .map((key) => `${JSON.stringify(key)}:${written(value[key])}`)
  return `{${members.join(",")}}`
}
