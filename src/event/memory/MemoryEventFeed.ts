/**
 * The feed of events in memory: what its event store has, in the order of ids or of streams.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as LockWait from "../../operation/LockWait.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import { Transactor } from "../../operation/Transactor.js"
import { streamKey } from "../AppendRules.js"
import type { Event } from "../Event.js"
import type { Selection, StreamPosition } from "../EventFeed.js"
import { EventFeed, SettleTimeout } from "../EventFeed.js"
import { MemoryEvents } from "./MemoryEvents.js"

/** The events of a `MemoryDatabase`. */
export const layer: Layer.Layer<EventFeed, never, MemoryDatabase.MemoryDatabase | Transactor> = Layer.effect(
  EventFeed,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const transactor = yield* Transactor
    const store = MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty)

    const selected = (selection: Selection) =>
      Effect.map(store.get, (state) => state.events.filter(wanted(selection, state)))

    /** A step may still be undone: its events count when it is over. What is written beside steps has turns. */
    const last = transactor.savepoint(
      Effect.flatMap(
        Ref.get(database.lock),
        Option.match({
          onNone: () =>
            Effect.map(store.get, ({ events }) => events.reduce((id, event) => (event.id > id ? event.id : id), 0n)),
          onSome: (holder) => Effect.fail(new SettleTimeout({ holders: [String(holder)] }))
        })
      )
    )

    return EventFeed.of({
      problem: Effect.succeedNone,
      settled: (timeout) =>
        Effect.retry(last, {
          schedule: LockWait.within(Schedule.spaced("10 millis"), Duration.decode(timeout)),
          while: ({ _tag }) => _tag === "SettleTimeout"
        }),
      page: (selection, limit) =>
        Effect.map(selected(selection), (events) => events.toSorted(byId).slice(0, limit).map(copied)),
      pageByStream: (selection, { after, from, to }, limit) =>
        Effect.map(selected(selection), (events) =>
          events
            .filter(({ aggregateId }) => {
              const id = aggregateId.toLowerCase()
              return (
                Option.match(from, { onNone: () => true, onSome: (first) => id >= first.toLowerCase() }) &&
                Option.match(to, { onNone: () => true, onSome: (end) => id < end.toLowerCase() })
              )
            })
            .filter((event) =>
              Option.match(after, { onNone: () => true, onSome: (position) => byStream(event, position) > 0 })
            )
            .toSorted(byStream)
            .slice(0, limit)
            .map(copied)
        ),
      ofAggregates: (selection, ids) => {
        const among = new Set(ids.map((id) => id.toLowerCase()))
        return Effect.map(selected(selection), (events) =>
          events
            .filter(({ aggregateId }) => among.has(aggregateId.toLowerCase()))
            .toSorted(byStream)
            .map(copied)
        )
      },
      boundaries: (selection, parts) =>
        Effect.map(selected(selection), (events) => {
          const ids = events.map(({ aggregateId }) => aggregateId.toLowerCase()).toSorted()
          const inner = Array.from(
            { length: parts - 1 },
            (_, at) => ids[Math.ceil((ids.length * (at + 1)) / parts) - 1]
          )
          return [...new Set(inner)].flatMap((id) => id ?? [])
        }),
      count: (selection) => Effect.map(selected(selection), ({ length }) => length),
      archivedAmong: (streams) =>
        Effect.map(store.get, ({ archived }) => streams.filter((stream) => archived.has(streamKey(stream))))
    })
  })
)

const wanted =
  (
    {
      after,
      aggregateId,
      aggregateTypes,
      belowAggregate,
      fromAggregate,
      since,
      tenantId,
      types,
      until,
      upTo,
      withoutArchived = false
    }: Selection,
    { archived }: MemoryEvents["Type"]
  ) =>
  (event: Event): boolean =>
    (after === undefined || event.id > after) &&
    (upTo === undefined || event.id <= upTo) &&
    (types === undefined || types.includes(event.type)) &&
    (aggregateTypes === undefined || aggregateTypes.includes(event.aggregateType)) &&
    (tenantId === undefined || event.tenantId.toLowerCase() === tenantId.toLowerCase()) &&
    (aggregateId === undefined || event.aggregateId.toLowerCase() === aggregateId.toLowerCase()) &&
    (fromAggregate === undefined || event.aggregateId.toLowerCase() >= fromAggregate.toLowerCase()) &&
    (belowAggregate === undefined || event.aggregateId.toLowerCase() < belowAggregate.toLowerCase()) &&
    (since === undefined || msOf(event) >= since.getTime()) &&
    (until === undefined || msOf(event) < until.getTime()) &&
    !(withoutArchived && archived.has(streamKey(event)))

/** A time that is a text is later than any date. */
const msOf = ({ createdAt }: Event): number => (typeof createdAt === "string" ? Infinity : createdAt.epochMillis)

const byId: Order.Order<Event> = Order.mapInput(Order.bigint, ({ id }) => id)

const byStream: Order.Order<StreamPosition> = Order.combineAll([
  Order.mapInput(Order.string, ({ aggregateId }) => aggregateId.toLowerCase()),
  Order.mapInput(Order.string, ({ tenantId }) => tenantId.toLowerCase()),
  Order.mapInput(Order.number, ({ version }) => version)
])

/** What is stored is nobody's to change. */
const copied = (event: Event): Event => ({ ...event, payload: structuredClone(event.payload) })
