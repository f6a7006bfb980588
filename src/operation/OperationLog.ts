/**
 * What was applied to this database, and every attempt at it: the markers and the attempts.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Attempt, NewAttempt } from "./Attempt.js"
import * as MemoryDatabase from "./memory/MemoryDatabase.js"
import { order } from "./Operation.js"
import type { Marker, NewMarker, OperationId } from "./Operation.js"
import type {
  CommitRefused,
  DatabaseError,
  SwallowedSqlError,
  TransactionControl,
  TransactionLeftOpen
} from "./OperationError.js"
import { AlreadyApplied, outsideStep } from "./OperationError.js"
import { MemoryStep } from "./Transactor.js"

/** Why a step cannot be closed with its marker. */
export type MarkError = AlreadyApplied | TransactionControl | SwallowedSqlError | CommitRefused | DatabaseError

/** The port of markers and attempts. */
export class OperationLog extends Context.Tag("effect-es-ops/OperationLog")<
  OperationLog,
  {
    /** Ids of everything applied, with the type of operation; empty where there is no marker table. Takes no lock. */
    readonly applied: Effect.Effect<ReadonlyMap<string, string>, DatabaseError>
    /**
     * What is applied beside operations of this type that are listed meanwhile: for whoever most often finds that they are the same. Takes no
     * lock.
     */
    readonly compare: <A extends Listed, R>(
      operationType: string,
      listing: Effect.Effect<A, never, R>
    ) => Effect.Effect<Compared<A>, DatabaseError, R>
    /** All markers, in the order of their ids. */
    readonly markers: Effect.Effect<ReadonlyArray<Marker>, DatabaseError>
    /** Attempts, newest first; empty where there is no attempts table. `after`: only those with a higher id. */
    readonly attempts: (filter: {
      readonly id?: OperationId | undefined
      readonly after?: number | undefined
    }) => Effect.Effect<ReadonlyArray<Attempt>, DatabaseError>
    /** The newest attempt of each operation, by its id. */
    readonly lastAttempts: Effect.Effect<ReadonlyMap<string, Attempt>, DatabaseError>
    /**
     * Closes a step: nothing of its body can follow. Marker and attempt are written with its commit, which fails with `AlreadyApplied` if
     * the marker is there by then. Inside `Transactor.run`, after `claim`.
     */
    readonly mark: (marker: NewMarker, attempt: NewAttempt) => Effect.Effect<void, MarkError>
    /**
     * Forgets the marker of an operation of this type and records the attempt, or does nothing if there is no such marker; answers which.
     * Inside `Transactor.run`, after `claim`.
     */
    readonly unmark: (
      marker: { readonly id: OperationId; readonly operationType: string },
      attempt: NewAttempt
    ) => Effect.Effect<boolean, DatabaseError>
    /**
     * Records an attempt that begins, at once, if its end can be recorded as well; answers with its id. Earlier ones that never ended were
     * interrupted. Inside `Transactor.session`, after `claim`.
     */
    readonly begin: (attempt: NewAttempt) => Effect.Effect<number, DatabaseError>
    /** Ends an attempt that was begun, together with the marker if there is one: not where the body's own work is not committed. */
    readonly finish: (
      id: number,
      attempt: NewAttempt,
      marker: Option.Option<NewMarker>
    ) => Effect.Effect<void, AlreadyApplied | TransactionLeftOpen | DatabaseError>
    /** Records an attempt, where the table exists. */
    readonly record: (attempt: NewAttempt) => Effect.Effect<void, DatabaseError>
    /** Records an attempt unless the operation's newest has the same outcome, whichever of many replicas comes first. */
    readonly recordOnce: (attempt: NewAttempt) => Effect.Effect<void, DatabaseError>
  }
>() {}

/** Ids of operations, in any order. */
export interface Listed {
  readonly ids: ReadonlyArray<string>
}

/** What is applied, beside what is listed. */
export interface Compared<A> {
  readonly listing: A
  /** Whether exactly those are applied of their type, and each is listed once. False is no answer: look at `applied` then. */
  readonly isExactly: boolean
  readonly applied: Effect.Effect<ReadonlyMap<string, string>, DatabaseError>
  /** Whether none of the tables is there, hence no history, and nothing that could be of another shape. Absent: some may be. */
  readonly isNew?: Effect.Effect<boolean, DatabaseError> | undefined
}

/** The log as it stands in a `MemoryDatabase`. */
export class MemoryLog extends Context.Tag("effect-es-ops/MemoryLog")<
  MemoryLog,
  { readonly markers: ReadonlyArray<Marker>; readonly attempts: ReadonlyArray<Attempt> }
>() {
  static readonly empty: MemoryLog["Type"] = { markers: [], attempts: [] }
}

/** The log of a `MemoryDatabase`. */
export const layerMemory: Layer.Layer<OperationLog, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  OperationLog,
  Effect.gen(function* () {
    const log = MemoryDatabase.view(yield* MemoryDatabase.MemoryDatabase, MemoryLog, MemoryLog.empty)
    const attempts = Effect.map(log.get, (state) => state.attempts.toReversed())
    const record = (attempt: NewAttempt) =>
      log.update((state) => ({ ...state, attempts: [...state.attempts, numbered(state.attempts, attempt)] }))
    const applied = Effect.map(
      log.get,
      ({ markers }) => new Map<string, string>(markers.map((m) => [m.id, m.operationType]))
    )
    return OperationLog.of({
      applied,
      compare: (operationType, listing) =>
        Effect.zipWith(listing, applied, (listed, found) => {
          const same = listed.ids.filter((id) => found.get(id) === operationType)
          const count = [...found.values()].filter((type) => type === operationType).length
          return {
            listing: listed,
            isExactly: listed.ids.length === count && new Set(same).size === count,
            applied: Effect.succeed(found)
          }
        }),
      markers: Effect.map(log.get, ({ markers }) => markers.toSorted((a, b) => order(a.id, b.id))),
      attempts: ({ after = 0, id }) =>
        Effect.map(attempts, (all) => all.filter((a) => a.id > after && (id === undefined || a.operationId === id))),
      lastAttempts: Effect.map(log.get, (state) => new Map(state.attempts.map((a) => [a.operationId, a]))),
      mark: (marker, attempt) =>
        Effect.gen(function* () {
          if (Option.isNone(yield* Effect.serviceOption(MemoryStep))) return yield* outsideStep("writing the marker")
          const { markers } = yield* log.get
          if (markers.some(({ id }) => id === marker.id)) return yield* new AlreadyApplied({ id: marker.id })
          const appliedAt = DateTime.unsafeMake(yield* Clock.currentTimeMillis)
          yield* log.update((state) => ({ ...state, markers: [...state.markers, { ...marker, appliedAt }] }))
          yield* record(attempt)
        }),
      unmark: ({ id, operationType }, attempt) =>
        Effect.gen(function* () {
          if (Option.isNone(yield* Effect.serviceOption(MemoryStep))) return yield* outsideStep("forgetting the marker")
          const { markers } = yield* log.get
          const rest = markers.filter((marker) => marker.id !== id || marker.operationType !== operationType)
          if (rest.length === markers.length) return false
          yield* log.update((state) => ({ ...state, markers: rest }))
          yield* record(attempt)
          return true
        }),
      begin: (attempt) =>
        Effect.zipRight(
          Effect.zipRight(
            log.update((state) => ({
              ...state,
              attempts: state.attempts.map((other) =>
                other.operationId === attempt.operationId && other.outcome === "running"
                  ? { ...other, outcome: "interrupted" as const }
                  : other
              )
            })),
            record(attempt)
          ),
          Effect.map(log.get, (state) => state.attempts.length)
        ),
      finish: (id, attempt, marker) =>
        Effect.gen(function* () {
          const { markers } = yield* log.get
          const taken = Option.filter(marker, (given) => markers.some((other) => other.id === given.id))
          if (Option.isSome(taken)) return yield* new AlreadyApplied({ id: taken.value.id })
          const appliedAt = DateTime.unsafeMake(yield* Clock.currentTimeMillis)
          yield* log.update((state) => ({
            markers: [...state.markers, ...Option.toArray(marker).map((given) => ({ ...given, appliedAt }))],
            attempts: state.attempts.map((other) => (other.id === id ? { ...other, ...attempt } : other))
          }))
        }),
      record,
      recordOnce: (attempt) =>
        Effect.flatMap(log.get, (state) => {
          const last = state.attempts.findLast(({ operationId }) => operationId === attempt.operationId)
          return last?.outcome === attempt.outcome ? Effect.void : record(attempt)
        })
    })
  })
)

const numbered = (earlier: ReadonlyArray<Attempt>, attempt: NewAttempt): Attempt => ({
  ...attempt,
  id: earlier.length + 1,
  attempt: earlier.filter((other) => other.operationId === attempt.operationId).length + 1
})
