/**
 * The bulk of a fold whose key is the aggregate: lanes of aggregate ids, each read in the order of aggregates and versions, each row written once.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Event } from "../../event/Event.js"
import type { Fold, FoldError, Folding } from "../../event/FoldDefinition.js"
import type { Key, StoredRow } from "../../event/Table.js"
import type { BatchSize } from "../../operation/BatchSize.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import type { Poison } from "../../projection/KeyFold.js"
import { SharedKey } from "../../projection/RebuildProblem.js"
import { rows } from "../client/PgSql.js"
import { PgSql } from "../client/PgSql.js"
import * as DeadLetters from "./DeadLetters.js"
import type { Shadow } from "./Shadow.js"
import type { Lane, Place } from "./ShadowEvents.js"
import * as ShadowEvents from "./ShadowEvents.js"
import * as ShadowRows from "./ShadowRows.js"
import type { ShadowTable } from "./ShadowTable.js"

/** How many events are read at once, at most: what a lane holds in memory. */
const largest = 20_000

/** The last aggregate of a lane whose row is written. */
const LaneCursor = Schema.Struct({ lane: Schema.String, after: Schema.NullOr(Schema.String), isDone: Schema.Boolean })

/** Computes the rows of a lane, from where it stands. Any process can go on with it, by its name. */
export const lane = (shadow: Shadow, table: ShadowTable, fold: Fold, upTo: bigint, lane: Lane, size: BatchSize) =>
  Effect.gen(function* () {
    const cursor = Option.flatMap(
      Option.flatMap(Option.fromNullable(shadow.run.lanes.get(lane.name)), (found) => found.cursor),
      (found) => Schema.decodeUnknownOption(LaneCursor)(found)
    )
    if (Option.exists(cursor, ({ isDone }) => isDone)) return
    const after = Option.getOrNull(Option.flatMapNullable(cursor, (found) => found.after))
    let place: Place | undefined = after === null ? undefined : { aggregateId: after, version: lastVersion }
    const folder = new AggregateFolder(fold, after)
    for (let isDone = false; !isDone;) {
      const limit = Math.min(largest, yield* size.get)
      const last = yield* shadow.run.batch(
        Effect.gen(function* () {
          const events = yield* ShadowEvents.pageByAggregate(shadow, lane, upTo, place, limit)
          const ends = events.length < limit
          const folded = folder.add(events, ends)
          if (folded.shared !== undefined) return yield* shared(shadow, folded.shared)
          yield* ShadowRows.add(table, folded.rows)
          yield* DeadLetters.note(shadow, table, folded.poison)
          return {
            value: { place: placeOf(events.at(-1)) ?? place, ends },
            lane: lane.name,
            cursor: { lane: lane.name, after: folder.after, isDone: ends },
            done: events.length,
            counters: { events: events.length }
          }
        }),
        { size }
      )
      place = last.place
      isDone = last.ends
    }
  })

/** Above every version. */
const lastVersion = 2_147_483_647

const placeOf = (event: Event | undefined): Place | undefined =>
  event === undefined ? undefined : { aggregateId: event.aggregateId, version: event.version }

const shared = ({ target }: Shadow, aggregateId: string) =>
  new SharedKey({ projection: target.name, count: 1, aggregateIds: [aggregateId] })

/** The boundaries between lanes, by percentiles of a sample: most ids of version 7 begin alike. */
export const lanesOf = (count: number, types: string): Effect.Effect<ReadonlyArray<Lane>, DatabaseError, PgSql> => {
  if (count === 1) return Effect.succeed([{ name: "1", from: undefined, to: undefined }])
  const fractions = Array.from({ length: count - 1 }, (_, at) => (at + 1) / count).join(", ")
  const Found = Schema.Struct({ ids: Schema.parseJson(Schema.NullOr(Schema.Array(Schema.String))) })
  return Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(
        `SELECT coalesce(to_json(percentile_disc(ARRAY[${fractions}]::float8[]) WITHIN GROUP (ORDER BY aggregate_id::text)), 'null')::text AS ids
        FROM (SELECT aggregate_id FROM kumiko_events e WHERE ${types} AND random() < 0.05 LIMIT 50000) AS sample`
      )
      .pipe(rows("looking for the boundaries of lanes", Found))
  ).pipe(Effect.map(([found]) => between([...new Set(found?.ids ?? [])])))
}

/** The lanes between boundaries. */
export const between = (boundaries: ReadonlyArray<string>): ReadonlyArray<Lane> =>
  [...boundaries, undefined].map((to, at) => ({
    name: `${at + 1}`,
    from: at === 0 ? undefined : boundaries[at - 1],
    to
  }))

interface Open {
  readonly key: Key
  readonly tenantId: string
  readonly folding: Folding | undefined
  readonly first: string
  readonly last: Event
}

/** What came of a page. */
interface Folded {
  readonly rows: ReadonlyArray<StoredRow>
  readonly poison: ReadonlyArray<Poison>
  /** An aggregate that is in two tenants. */
  readonly shared: string | undefined
}

/** Folds a stream of events that are sorted by aggregate; the last aggregate stays open until the next page shows its end. */
class AggregateFolder {
  #open: Open | undefined

  constructor(
    readonly fold: Fold,
    /** The last aggregate that is complete. */
    public after: string | null
  ) {}

  add(events: ReadonlyArray<Event>, ends: boolean): Folded {
    const rows: Array<StoredRow> = []
    const poison: Array<Poison> = []
    const close = () => {
      if (this.#open === undefined) return
      const { first, folding, key, last } = this.#open
      const row = folding?.row()
      if (row !== undefined && Either.isLeft(row)) poison.push({ event: last, key: Option.some(key), error: row.left })
      else if (row !== undefined && Option.isSome(row.right)) rows.push({ ...row.right.value, es_ops_first: first })
      this.after = last.aggregateId
      this.#open = undefined
    }
    for (const event of events) {
      if (this.#open !== undefined && this.#open.last.aggregateId !== event.aggregateId) close()
      if (this.#open !== undefined && this.#open.tenantId !== event.tenantId)
        return { rows, poison, shared: event.aggregateId }
      const next = Either.flatMap(this.fold.keyOf(event), (key) => this.#next(key, event))
      if (Either.isRight(next)) this.#open = next.right
      else {
        poison.push({ event, key: this.#keyOf(event), error: next.left })
        this.#open = { ...this.#begun(this.#keyFor(event), event), folding: undefined }
      }
    }
    if (ends) close()
    return { rows, poison, shared: undefined }
  }

  /** What follows on an event that cannot be folded is left out. */
  #next(key: Key, event: Event): Either.Either<Open, FoldError> {
    if (this.#open !== undefined && this.#open.folding === undefined)
      return Either.right({ ...this.#open, last: event })
    const begun =
      this.#open?.folding === undefined ? this.fold.begin(key, Option.none()) : Either.right(this.#open.folding)
    return Either.flatMap(begun, (folding) =>
      Either.map(folding.add(event), () => ({ ...this.#begun(key, event), folding }))
    )
  }

  #begun(key: Key, event: Event): Omit<Open, "folding"> {
    return this.#open === undefined
      ? { key, tenantId: event.tenantId, first: RecordedTime.format(event.createdAt), last: event }
      : { ...this.#open, last: event }
  }

  /** The key is the aggregate's id, whatever the event says. */
  #keyFor(event: Event): Key {
    return Object.fromEntries(
      this.fold.table.primaryKey.map((name): readonly [string, string] => [name, event.aggregateId])
    )
  }

  #keyOf(event: Event): Option.Option<Key> {
    return Option.some(this.#keyFor(event))
  }
}
