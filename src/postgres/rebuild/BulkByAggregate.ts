/**
 * The bulk of a fold whose key is the aggregate: lanes of aggregate ids, each read in the order of aggregates and versions, each row written once.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Event } from "../../event/Event.js"
import type { Fold, FoldError, Folding } from "../../event/FoldDefinition.js"
import type { Key } from "../../event/Table.js"
import type { BatchSize } from "../../operation/BatchSize.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import type { Poison } from "../../projection/KeyFold.js"
import { SharedKey } from "../../projection/RebuildProblem.js"
import * as DeadLetters from "./DeadLetters.js"
import * as ReadAhead from "./ReadAhead.js"
import type { Shadow } from "./Shadow.js"
import type { Lane, Place } from "./ShadowEvents.js"
import * as ShadowEvents from "./ShadowEvents.js"
import * as ShadowRows from "./ShadowRows.js"
import type { ShadowTable } from "./ShadowTable.js"

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
    const work = {
      read: (after: Place | undefined, folded: Option.Option<Folded>) => {
        const { poison, rows } = Option.getOrElse(folded, () => nothing)
        const adding = ShadowRows.adding(table, rows)
        return Effect.zipRight(
          DeadLetters.note(shadow, table, poison),
          ShadowEvents.rowsByAggregate(shadow, lane, upTo, after, ReadAhead.together, adding)
        )
      },
      placeOf,
      fold: (events: ReadonlyArray<Event>, ends: boolean) => {
        const folded = folder.add(events, ends)
        return folded.shared === undefined ? Effect.succeed(folded) : shared(shadow, folded.shared)
      },
      write: ({ poison, rows }: Folded) =>
        Effect.zipRight(ShadowRows.add(table, rows), DeadLetters.note(shadow, table, poison))
    }
    // What is done are whole aggregates: who goes on with the lane reads the last one again.
    let [done, read] = [0, 0]
    const batchSize: BatchSize = { get: size.get, took: (_, milliseconds) => size.took(read, milliseconds) }
    for (let isDone = false; !isDone;) {
      const limit = yield* size.get
      const last = yield* shadow.run.batch(
        Effect.map(ReadAhead.pages(place, limit, work), (pages) => {
          const more = folder.done - done
          done = folder.done
          read = pages.count
          return {
            value: pages,
            lane: lane.name,
            cursor: { lane: lane.name, after: folder.after, isDone: pages.ends },
            done: more,
            counters: { events: more }
          }
        }),
        { size: batchSize }
      )
      place = last.place
      isDone = last.ends
    }
  })

/** Above every version. */
const lastVersion = 2_147_483_647

const placeOf = ({ aggregateId, version }: Event): Place | undefined => ({ aggregateId, version })

const shared = ({ target }: Shadow, aggregateId: string) =>
  new SharedKey({ projection: target.name, count: 1, aggregateIds: [aggregateId] })

/** The lanes between boundaries. */
export const between = (boundaries: ReadonlyArray<string>): ReadonlyArray<Lane> =>
  [...boundaries, undefined].map((to, at) => ({
    name: `${at + 1}`,
    from: at === 0 ? undefined : boundaries[at - 1],
    to
  }))

/** An aggregate whose events are being folded: by the million, so that nothing is copied for each. */
interface Open {
  readonly key: Key
  readonly tenantId: string
  readonly first: string
  /** None once an event could not be folded: what follows on it is left out. */
  folding: Folding | undefined
  last: Event
  events: number
}

/** What came of a page. */
interface Folded {
  readonly rows: ReadonlyArray<ShadowRows.Added>
  readonly poison: ReadonlyArray<Poison>
  /** An aggregate that is in two tenants. */
  readonly shared: string | undefined
}

const nothing: Folded = { rows: [], poison: [], shared: undefined }

/** Folds a stream of events that are sorted by aggregate; the last aggregate stays open until the next page shows its end. */
class AggregateFolder {
  #open: Open | undefined

  /** How many events the aggregates have that are complete. */
  done = 0

  constructor(
    readonly fold: Fold,
    /** The last aggregate that is complete. */
    public after: string | null
  ) {}

  add(events: ReadonlyArray<Event>, ends: boolean): Folded {
    const rows: Array<ShadowRows.Added> = []
    const poison: Array<Poison> = []
    const failed = ({ key }: Open, event: Event, error: FoldError) => {
      poison.push({ event, key: Option.some(key), error })
    }
    const close = (open: Open) => {
      const row = open.folding?.row()
      if (row !== undefined && Either.isLeft(row)) failed(open, open.last, row.left)
      else if (row !== undefined && Option.isSome(row.right)) rows.push({ row: row.right.value, first: open.first })
      this.done += open.events
      this.after = open.last.aggregateId
      this.#open = undefined
    }
    for (const event of events) {
      if (this.#open !== undefined && this.#open.last.aggregateId !== event.aggregateId) close(this.#open)
      if (this.#open !== undefined && this.#open.tenantId !== event.tenantId)
        return { rows, poison, shared: event.aggregateId }
      const open = this.#open ?? this.#begun(event, failed)
      this.#open = open
      open.last = event
      open.events++
      const added = open.folding?.add(event)
      if (added === undefined || Either.isRight(added)) continue
      open.folding = undefined
      failed(open, event, added.left)
    }
    if (ends && this.#open !== undefined) close(this.#open)
    return { rows, poison, shared: undefined }
  }

  /** The key is the aggregate's id, whatever the event says. */
  #begun(event: Event, failed: (open: Open, event: Event, error: FoldError) => void): Open {
    const { aggregateId, tenantId } = event
    const key: Key = Object.fromEntries(
      this.fold.table.primaryKey.map((name): readonly [string, string] => [name, aggregateId])
    )
    const folding = this.fold.begin(key, Option.none())
    const open = {
      key,
      tenantId,
      first: RecordedTime.format(event.createdAt),
      folding: Option.getOrUndefined(Either.getRight(folding)),
      last: event,
      events: 0
    }
    if (Either.isLeft(folding)) failed(open, event, folding.left)
    return open
  }
}
