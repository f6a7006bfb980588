/**
 * Moves of streams in memory, on the events of a `MemoryDatabase`.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { streamKey } from "../../event/AppendRules.js"
import type { Event, StreamId } from "../../event/Event.js"
import type { ArchiveMark } from "../../event/memory/MemoryEvents.js"
import { MemoryEvents } from "../../event/memory/MemoryEvents.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import type { Move, MoveState, Place, Straggler } from "../StreamMoves.js"
import { StreamMoves } from "../StreamMoves.js"

/** The moves of a `MemoryDatabase`. Transactions take turns in memory, so that none is open at a move. */
export const layer: Layer.Layer<StreamMoves, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  StreamMoves,
  Effect.gen(function* () {
    const store = MemoryDatabase.view(yield* MemoryDatabase.MemoryDatabase, MemoryEvents, MemoryEvents.empty)
    const all = (moves: ReadonlyArray<Move>, each: (state: State, move: Move) => State) =>
      store.update((state) => moves.reduce(each, state))
    return StreamMoves.of({
      look: (moves) => Effect.map(store.get, (state) => moves.map((move) => stateOf(state, move))),
      lock: Effect.void,
      holder: Effect.succeedNone,
      move: (moves) => all(moves, (state, move) => marked(moved(state, move), move)),
      merge: (moves) => all(moves, (state, move) => marked(merged(state, move), move)),
      open: Effect.succeed([]),
      over: () => Effect.succeed([]),
      stragglers: (moves) =>
        Effect.map(store.get, (state) =>
          moves.flatMap((move): ReadonlyArray<Straggler> => {
            const left = leftOf(state, move)
            return left.length === 0
              ? []
              : [{ ...move, events: left.length, types: Arr.dedupe(left.map(({ type }) => type)) }]
          })
        ),
      putBehind: (moves) => all(moves, putBehind)
    })
  })
)

type State = MemoryEvents["Type"]

const source = ({ aggregateId, from }: Move): StreamId => ({ tenantId: from, aggregateId })

const target = ({ aggregateId, to }: Move): StreamId => ({ tenantId: to, aggregateId })

const eventsOf = ({ events }: State, stream: StreamId): ReadonlyArray<Event> =>
  events.filter((event) => streamKey(event) === streamKey(stream)).toSorted((a, b) => a.version - b.version)

const placeOf = (state: State, stream: StreamId): Place => {
  const events = eventsOf(state, stream)
  return {
    aggregateType: Option.map(Arr.head(events), ({ aggregateType }) => aggregateType),
    events: events.length,
    version: events.at(-1)?.version ?? 0,
    isArchived: state.archived.has(streamKey(stream)),
    isPurged: state.purged.has(streamKey(stream))
  }
}

const stateOf = (state: State, move: Move): MoveState => {
  const [own, theirs] = [eventsOf(state, source(move)), eventsOf(state, target(move))]
  const taken = new Set(state.events.filter(({ tenantId }) => tenantId.toLowerCase() === move.to).flatMap(keysOf))
  return {
    aggregateId: move.aggregateId,
    from: move.from,
    to: move.to,
    source: placeOf(state, source(move)),
    target: placeOf(state, target(move)),
    types: Arr.dedupe([...own, ...theirs].map(({ type }) => type)),
    takenKeys: Arr.dedupe(own.flatMap(keysOf))
      .filter((key) => taken.has(key))
      .toSorted()
      .slice(0, 3)
  }
}

const keysOf = ({ metadata: { idempotencyKey } }: Event): ReadonlyArray<string> =>
  idempotencyKey === undefined ? [] : [idempotencyKey]

/** The events as `change` leaves them, by their ids. */
const changed = (state: State, change: ReadonlyMap<bigint, Pick<Event, "tenantId" | "version">>): State => ({
  ...state,
  events: state.events.map((event) => ({ ...event, ...change.get(event.id) }))
})

const moved = (state: State, move: Move): State =>
  changed(state, new Map(eventsOf(state, source(move)).map(({ id, version }) => [id, { tenantId: move.to, version }])))

const merged = (state: State, move: Move): State =>
  changed(
    state,
    new Map(
      [...eventsOf(state, source(move)), ...eventsOf(state, target(move))]
        .toSorted((a, b) => (a.id < b.id ? -1 : 1))
        .map(({ id }, at) => [id, { tenantId: move.to, version: at + 1 }])
    )
  )

/** Where both are archived, the mark of the target stays. */
const marked = (state: State, move: Move): State => {
  const mark: ArchiveMark | undefined = state.archived.get(streamKey(source(move)))
  if (mark === undefined) return state
  const archived = new Map(state.archived)
  archived.delete(streamKey(source(move)))
  if (!archived.has(streamKey(target(move)))) archived.set(streamKey(target(move)), mark)
  return { ...state, archived }
}

const leftOf = (state: State, move: Move): ReadonlyArray<Event> =>
  eventsOf(state, source(move)).filter(({ version }, at) => version !== at + 1)

const putBehind = (state: State, move: Move): State => {
  const { version } = placeOf(state, target(move))
  return changed(
    state,
    new Map(leftOf(state, move).map(({ id }, at) => [id, { tenantId: move.to, version: version + at + 1 }]))
  )
}
