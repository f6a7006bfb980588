/**
 * `OperationLog` of a `MemoryDatabase`: the markers and the attempts as they stand in it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Attempt, NewAttempt } from "../Attempt.js"
import type { Marker, NewMarker } from "../Operation.js"
import { AppliedOperations, order } from "../AppliedOperations.js"
import { AlreadyApplied } from "../OperationError.js"
import { outsideStep } from "../OutsideStep.js"
import { OperationLog } from "../OperationLog.js"
import type { StepRecord } from "../Transactor.js"
import * as MemoryDatabase from "./MemoryDatabase.js"
import { MemoryStep } from "./MemoryStep.js"

/** The log as it stands in a `MemoryDatabase`. */
export class MemoryLog extends Context.Tag("effect-es-ops/MemoryLog")<
  MemoryLog,
  { readonly markers: ReadonlyArray<Marker>; readonly attempts: ReadonlyArray<Attempt> }
>() {
  static readonly empty: MemoryLog["Type"] = { markers: [], attempts: [] }
}

/** The log of a database, and the two ways to write to it at the end of a step. */
export interface LogView extends MemoryDatabase.View<MemoryLog["Type"]> {
  readonly record: (attempt: NewAttempt) => Effect.Effect<void>
  readonly mark: (record: StepRecord) => Effect.Effect<void, AlreadyApplied>
}

/** The log of `database`. */
export const viewOf = (database: MemoryDatabase.MemoryDatabase["Type"]): LogView => {
  const view = MemoryDatabase.view(database, MemoryLog, MemoryLog.empty)
  const record = (attempt: NewAttempt) =>
    view.update((state) => ({ ...state, attempts: [...state.attempts, numbered(state.attempts, attempt)] }))
  return {
    ...view,
    record,
    mark: ({ attempt, marker }) =>
      Effect.flatMap(markerAt(view, Option.some(marker)), (added) =>
        Effect.zipRight(
          view.update((state) => ({ ...state, markers: [...state.markers, ...added] })),
          record(attempt)
        )
      )
  }
}

/** The log of a `MemoryDatabase`. */
export const layer: Layer.Layer<OperationLog, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  OperationLog,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const log = viewOf(database)
    const attempts = Effect.map(log.get, (state) => state.attempts.toReversed())
    return OperationLog.of({
      applied: Effect.map(log.get, ({ markers }) =>
        AppliedOperations.fromEntries(markers.map(({ id, operationType }) => [id, operationType]))
      ),
      hasTables: Effect.succeed(true),
      markers: Effect.map(log.get, ({ markers }) => markers.toSorted((a, b) => order(a.id, b.id))),
      attempts: ({ after = 0, id }) =>
        Effect.map(attempts, (all) => all.filter((a) => a.id > after && (id === undefined || a.operationId === id))),
      lastAttempts: Effect.map(log.get, (state) => new Map(state.attempts.map((a) => [a.operationId, a]))),
      unmark: ({ id, operationType }, attempt) =>
        Effect.gen(function* () {
          if (Option.isNone(yield* Effect.serviceOption(MemoryStep))) return yield* outsideStep("forgetting the marker")
          const { markers } = yield* log.get
          const rest = markers.filter((marker) => marker.id !== id || marker.operationType !== operationType)
          if (rest.length === markers.length) return false
          yield* log.update((state) => ({ ...state, markers: rest }))
          yield* log.record(attempt)
          return true
        }),
      rename: ({ from, operationType, to }, attempts) =>
        Effect.gen(function* () {
          if (Option.isNone(yield* Effect.serviceOption(MemoryStep))) return yield* outsideStep("renaming the marker")
          const isIt = (marker: Marker) => marker.id === from && marker.operationType === operationType
          if (!(yield* log.get).markers.some(isIt)) return false
          yield* log.update((state) => ({
            ...state,
            markers: state.markers.map((marker) => (isIt(marker) ? { ...marker, id: to } : marker))
          }))
          yield* Effect.forEach(attempts, log.record, { discard: true })
          return true
        }),
      begin: (attempt) =>
        log
          .update((state) => ({ ...state, attempts: state.attempts.map(interruptedBefore(attempt)) }))
          .pipe(
            Effect.zipRight(log.record(attempt)),
            Effect.zipRight(Effect.map(log.get, (state) => state.attempts.length))
          ),
      finish: (id, attempt, marker) =>
        Effect.flatMap(markerAt(log, marker), (added) =>
          log.update((state) => ({
            markers: [...state.markers, ...added],
            attempts: state.attempts.map((other) => (other.id === id ? { ...other, ...attempt } : other))
          }))
        ),
      record: log.record,
      recordOnce: (attempt) =>
        Effect.flatMap(log.get, (state) => {
          const last = state.attempts.findLast(({ operationId }) => operationId === attempt.operationId)
          return Effect.as(last?.outcome === attempt.outcome ? Effect.void : log.record(attempt), true)
        })
    })
  })
)

/** The marker with the time of now, or none; refused where its id has one already. */
const markerAt = (
  view: MemoryDatabase.View<MemoryLog["Type"]>,
  marker: Option.Option<NewMarker>
): Effect.Effect<ReadonlyArray<Marker>, AlreadyApplied> =>
  Effect.gen(function* () {
    if (Option.isNone(marker)) return []
    const { id } = marker.value
    const { markers } = yield* view.get
    if (markers.some((other) => other.id === id)) return yield* new AlreadyApplied({ id })
    return [{ ...marker.value, appliedAt: DateTime.unsafeMake(yield* Clock.currentTimeMillis) }]
  })

const interruptedBefore =
  ({ operationId }: NewAttempt) =>
  (other: Attempt): Attempt =>
    other.operationId === operationId && other.outcome === "running" ? { ...other, outcome: "interrupted" } : other

const numbered = (earlier: ReadonlyArray<Attempt>, attempt: NewAttempt): Attempt => ({
  ...attempt,
  id: earlier.length + 1,
  attempt: earlier.filter((other) => other.operationId === attempt.operationId).length + 1
})
