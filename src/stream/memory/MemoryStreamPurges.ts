/**
 * Purges of streams in memory, on the events of a `MemoryDatabase`.
 */
import * as Clock from "effect/Clock"
import * as Arr from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"
import { streamKey } from "../../event/AppendRules.js"
import type { Event, StreamId } from "../../event/Event.js"
import { MemoryEvents } from "../../event/memory/MemoryEvents.js"
import { MemorySnapshots } from "../../event/memory/MemorySnapshots.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import type { DueStream, PurgeSelection, StreamDigest } from "../StreamPurges.js"
import { StreamPurges } from "../StreamPurges.js"

/** The purges of a `MemoryDatabase`. Transactions take turns in memory, and there are no consumers and no dead letters. */
export const layer: Layer.Layer<StreamPurges, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  StreamPurges,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const store = MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty)
    const snapshots = MemoryDatabase.view(database, MemorySnapshots, MemorySnapshots.empty)
    return StreamPurges.of({
      ago: (age) =>
        Effect.map(Clock.currentTimeMillis, (now) =>
          // What was archived within the same millisecond was archived before.
          DateTime.formatIso(DateTime.unsafeMake(Math.max(earliest, now + 1 - Duration.toMillis(age))))
        ),
      lacking: Effect.succeed([]),
      count: (selection) => Effect.map(store.get, (state) => dueIn(state, selection).length),
      behind: () => Effect.succeed([]),
      eventTypes: (selection, among) =>
        Effect.map(store.get, (state) => {
          const types = new Set(dueIn(state, selection).flatMap((stream) => eventsOf(state, stream).map(typeOf)))
          return among.filter((type) => types.has(type))
        }),
      due: (selection, after, limit) =>
        Effect.map(store.get, (state) =>
          dueIn(state, selection)
            .filter((stream) =>
              Option.match(after, { onNone: () => true, onSome: (last) => keyOf(stream) > keyOf(last) })
            )
            .slice(0, limit)
        ),
      settled: () => Effect.void,
      lock: (selection, streams) =>
        Effect.map(store.get, (state) => {
          const asked = new Set(streams.map(streamKey))
          return dueIn(state, selection).filter((stream) => asked.has(streamKey(stream)))
        }),
      digests: (streams, withLines) =>
        Effect.map(store.get, (state) => streams.map((stream) => digestOf(state, stream, withLines))),
      remove: (streams, by) =>
        Effect.gen(function* () {
          const state = yield* store.get
          const removed = streams.flatMap((stream) => eventsOf(state, stream))
          const gone = new Set(streams.map(streamKey))
          const stones = Option.match(by, {
            onNone: () => [],
            onSome: ({ runId }) => streams.map((stream) => [streamKey(stream), stoneOf(stream, runId)] as const)
          })
          yield* store.update((current) => ({
            ...current,
            events: current.events.filter((event) => !gone.has(streamKey(event))),
            purged: new Map([...stones, ...current.purged])
          }))
          return { events: removed.length, ids: idsOf(removed), writes: 0n }
        }),
      along: (streams) =>
        Effect.gen(function* () {
          const gone = new Set(streams.map(streamKey))
          const before = yield* snapshots.get
          const kept = before.filter((snapshot) => !gone.has(streamKey(snapshot)))
          yield* snapshots.update(() => kept)
          return { snapshots: before.length - kept.length, deadLetters: 0 }
        }),
      owing: () => Effect.succeed([]),
      over: () => Effect.succeed([]),
      leftover: (runId) =>
        Effect.map(store.get, (state) => {
          const left = state.events.filter((event) => state.purged.get(streamKey(event))?.runId === runId)
          return Object.values(Arr.groupBy(left, streamKey)).map(([{ aggregateId, tenantId }, ...others]) => ({
            tenantId,
            aggregateId,
            events: others.length + 1
          }))
        })
    })
  })
)

/** The first instant of the years that have four digits. */
const earliest = -62_135_596_800_000

type State = MemoryEvents["Type"]

const keyOf = (stream: StreamId): string => streamKey(stream)

const typeOf = ({ type }: Event): string => type

const eventsOf = ({ events }: State, stream: StreamId): ReadonlyArray<Event> =>
  events.filter((event) => streamKey(event) === streamKey(stream)).toSorted((a, b) => a.version - b.version)

const dueIn = (state: State, { before, tenantId, types }: PurgeSelection): ReadonlyArray<DueStream> =>
  [...state.archived]
    .map(([key, mark]) => ({ key, mark }))
    .filter(
      ({ key, mark }) =>
        types.includes(mark.aggregateType) &&
        DateTime.toEpochMillis(mark.archivedAt) < Date.parse(before) &&
        (!state.purged.has(key) || state.events.some((event) => streamKey(event) === key))
    )
    .map(({ key, mark }) => ({ ...idOf(key), aggregateType: mark.aggregateType }))
    .filter((stream) => Option.match(tenantId, { onNone: () => true, onSome: (id) => stream.tenantId === id }))
    .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))

/** A key is tenant and aggregate. */
const idOf = (key: string): StreamId => {
  const [tenantId = "", aggregateId = ""] = key.split("/")
  return { tenantId, aggregateId }
}

const digestOf = (
  state: State,
  { aggregateId, aggregateType, tenantId }: DueStream,
  withLines: boolean
): StreamDigest => {
  const events = eventsOf(state, { aggregateId, tenantId })
  const lines = Buffer.from(linesOf(events), "utf8")
  return {
    tenantId,
    aggregateId,
    aggregateType,
    events: events.length,
    ids: idsOf(events),
    writes: 0n,
    version: events.at(-1)?.version ?? 0,
    newest: Option.map(Arr.last(events), () => events.reduce((max, { id }) => (id > max ? id : max), 0n)),
    types: Arr.dedupe(events.map(typeOf)),
    aggregateTypes: Arr.dedupe(events.map(({ aggregateType }) => aggregateType)),
    sha256: createHash("sha256").update(lines).digest("hex"),
    lines: withLines ? Option.some(lines) : Option.none()
  }
}

const idsOf = (events: ReadonlyArray<Event>): bigint => events.reduce((sum, { id }) => sum + id, 0n)

const stoneOf = ({ aggregateType, events, sha256, version }: StreamDigest, runId: string) => ({
  runId,
  aggregateType,
  lastVersion: version,
  events,
  sha256
})

const linesOf = (events: ReadonlyArray<Event>): string => events.map((event) => `${lineOf(event)}\n`).join("")

const lineOf = (event: Event): string =>
  JSON.stringify({
    id: String(event.id),
    tenantId: event.tenantId,
    aggregateId: event.aggregateId,
    aggregateType: event.aggregateType,
    version: event.version,
    type: event.type,
    eventVersion: event.eventVersion,
    payload: event.payload,
    metadata: event.metadata,
    createdAt: RecordedTime.format(event.createdAt),
    createdBy: event.createdBy
  })
