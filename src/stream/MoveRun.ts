/**
 * The work of a run that moves streams: small batches under the lock, then the wait for the transactions of before, and what those left behind.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { EventFeed } from "../event/EventFeed.js"
import type { Features } from "../event/Features.js"
import type { ProjectionRecords } from "../event/ProjectionRecords.js"
import type { ReadTables } from "../event/ReadTables.js"
import type { Declared, RefoldError } from "../event/Refold.js"
import type { FollowedRows } from "../event/StreamRows.js"
import * as StreamRows from "../event/StreamRows.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type { LockTimeout } from "../operation/OperationError.js"
import { DatabaseError } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { RunRefused } from "../operation/RunLog.js"
import * as EventsLock from "./EventsLock.js"
import * as MoveDecision from "./MoveDecision.js"
import { MovesUnsettled } from "./MoveProblem.js"
import type { FailedMove, MoveCursor } from "./MoveReport.js"
import * as MoveReports from "./MoveReport.js"
import * as StreamFailure from "./StreamFailure.js"
import type { EventsBusy, Move, MoveState, Straggler } from "./StreamMoves.js"
import { StreamMoves } from "./StreamMoves.js"

/** The services that the work requires. */
export type Services = StreamMoves | EventFeed | ReadTables | ProjectionRecords | Features | OperationConfig

/** What ends the work before it is done. */
export type MoveError = DatabaseError | LockTimeout | MovesUnsettled

/** What is to be done. */
export interface MoveWork {
  readonly moves: ReadonlyArray<Move>
  readonly merge: boolean
  readonly projections: ReadonlyArray<Declared>
  /** What was refused before it was begun. */
  readonly failed: ReadonlyArray<FailedMove>
}

type Worked<A> = Effect.Effect<A, MoveError | RunRefused, Services>

/** Moves the streams that are not done with yet, then looks for stragglers until there are none. */
export const work = (run: RunHandle, about: MoveWork): Worked<MoveCursor> =>
  Effect.gen(function* () {
    let cursor = Option.isSome(run.cursor)
      ? MoveReports.cursorOf(run.cursor)
      : { ...MoveReports.begin, failed: about.failed }
    let size = firstSize
    while (cursor.at < about.moves.length) {
      const chunk = about.moves.slice(cursor.at, cursor.at + size)
      if (!Arr.isNonEmptyReadonlyArray(chunk)) break
      const { heldMs, next } = yield* moveSome(run, about, cursor, chunk)
      cursor = next
      size = sizeAfter(size, heldMs)
    }
    return yield* settled(run, about, cursor)
  })

/** Streams a batch: so many that writers wait for milliseconds. */
const firstSize = 8
const largestSize = 50

const sizeAfter = (size: number, heldMs: number): number =>
  heldMs > 40 ? Math.max(1, Math.floor(size / 2)) : heldMs < 15 ? Math.min(largestSize, size * 2) : size

interface Moved {
  readonly next: MoveCursor
  /** How long writers were held up. */
  readonly heldMs: number
}

/** One batch; where a stream of it cannot be moved, each has one of its own. */
const moveSome = (
  run: RunHandle,
  about: MoveWork,
  cursor: MoveCursor,
  chunk: NonEmptyReadonlyArray<Move>
): Worked<Moved> =>
  Effect.catchIf(inBatch(run, about, cursor, chunk), StreamFailure.isOfOneStream, (error) => {
    const [first, ...others] = chunk
    if (others.length === 0) {
      const next = { ...cursor, at: cursor.at + 1, failed: [...cursor.failed, failedWith(first, error)] }
      return Effect.as(run.batch(Effect.succeed(progress(about, cursor, next))), { next, heldMs: 0 })
    }
    return Effect.reduce(chunk, { next: cursor, heldMs: 0 }, ({ next }: Moved, one) =>
      moveSome(run, about, next, [one])
    )
  })

const inBatch = (
  run: RunHandle,
  about: MoveWork,
  cursor: MoveCursor,
  chunk: NonEmptyReadonlyArray<Move>
): Effect.Effect<Moved, RefoldError | LockTimeout | RunRefused, Services> =>
  EventsLock.retried(
    run.batch(
      Effect.gen(function* () {
        yield* (yield* StreamMoves).lock
        const lockedAt = yield* Clock.currentTimeMillis
        const next = yield* moved(about, cursor, chunk)
        const heldMs = (yield* Clock.currentTimeMillis) - lockedAt
        return { ...progress(about, cursor, next), value: { next, heldMs } }
      })
    )
  )

/** Moves those of some streams that can be moved, in the transaction of the fiber. */
export const moved = (
  about: Pick<MoveWork, "merge" | "projections">,
  cursor: MoveCursor,
  chunk: NonEmptyReadonlyArray<Move>
): Effect.Effect<MoveCursor, RefoldError | EventsBusy, Services> =>
  Effect.gen(function* () {
    const port = yield* StreamMoves
    const { failed, merging, moving, unchanged } = sorted(yield* port.look(chunk), about.merge)
    if (Arr.isNonEmptyReadonlyArray(moving)) yield* port.move(moving)
    if (Arr.isNonEmptyReadonlyArray(merging)) yield* port.merge(merging)
    const followed = yield* StreamRows.follow(about.projections, [...moving, ...merging])
    return {
      ...withRows(cursor, followed),
      at: cursor.at + chunk.length,
      moved: cursor.moved + moving.length + merging.length,
      merged: cursor.merged + merging.length,
      unchanged: cursor.unchanged + unchanged,
      events: cursor.events + [...moving, ...merging].reduce((sum, { source }) => sum + source.events, 0),
      failed: [...cursor.failed, ...failed]
    }
  })

const progress = (about: MoveWork, before: MoveCursor, next: MoveCursor) => ({
  value: undefined,
  phase: "moving",
  cursor: next,
  done: next.at - before.at,
  total: about.moves.length,
  counters: {
    moved: next.moved - before.moved,
    merged: next.merged - before.merged,
    events: next.events - before.events,
    failed: next.failed.length - before.failed.length
  }
})

const sorted = (states: ReadonlyArray<MoveState>, merge: boolean) => {
  const moving: Array<MoveState> = []
  const merging: Array<MoveState> = []
  const failed: Array<FailedMove> = []
  let unchanged = 0
  for (const state of states) {
    const decision = MoveDecision.decide(state, merge)
    if (Either.isLeft(decision)) failed.push(failedWith(state, decision.left))
    else if (decision.right === "move") moving.push(state)
    else if (decision.right === "merge") merging.push(state)
    else unchanged += 1
  }
  return { moving, merging, failed, unchanged }
}

/** So many streams are looked at for stragglers at a time. */
const lookSize = 500

/** So many of them are put behind under one lock. */
const behindSize = 20

/** Waits for the transactions that are open now, and puts behind what they left, until they left nothing. */
const settled = (run: RunHandle, about: MoveWork, from: MoveCursor): Worked<MoveCursor> =>
  Effect.gen(function* () {
    const port = yield* StreamMoves
    const { lockTimeout } = yield* OperationConfig
    let cursor = from
    for (;;) {
      const holders = yield* port.over(yield* port.open, lockTimeout)
      if (holders.length > 0) return yield* new MovesUnsettled({ holders })
      const found = yield* stragglersOf(about, cursor)
      if (found.length === 0) return cursor
      for (const some of Arr.chunksOf(found, behindSize)) cursor = yield* putBehind(run, about, cursor, some)
    }
  })

const stragglersOf = (about: MoveWork, { failed }: MoveCursor) =>
  Effect.gen(function* () {
    const port = yield* StreamMoves
    const others = new Set(failed.map(({ id }) => id))
    const moves = about.moves.filter(({ aggregateId }) => !others.has(aggregateId))
    return (yield* Effect.forEach(Arr.chunksOf(moves, lookSize), (some) => port.stragglers(some))).flat()
  })

const putBehind = (
  run: RunHandle,
  about: MoveWork,
  cursor: MoveCursor,
  found: NonEmptyReadonlyArray<Straggler>
): Worked<MoveCursor> =>
  EventsLock.retried(
    run.batch(
      Effect.gen(function* () {
        const port = yield* StreamMoves
        yield* port.lock
        const behind = yield* port.stragglers(found)
        if (Arr.isNonEmptyReadonlyArray(behind)) yield* port.putBehind(behind)
        const next: MoveCursor = {
          ...withRows(cursor, yield* StreamRows.follow(about.projections, behind)),
          stragglers: [
            ...cursor.stragglers,
            ...behind.map(({ aggregateId, events, from, to }) => ({ id: aggregateId, from, to, events }))
          ]
        }
        const stragglers = behind.reduce((sum, { events }) => sum + events, 0)
        return { value: next, phase: "stragglers", cursor: next, counters: { stragglers } }
      })
    )
  ).pipe(
    Effect.catchIf(StreamFailure.isOfOneStream, (error) => {
      const [first, ...others] = found
      if (others.length === 0) {
        const next = { ...cursor, failed: [...cursor.failed, failedWith(first, error)] }
        return run.batch(Effect.succeed({ value: next, phase: "stragglers", cursor: next, counters: { failed: 1 } }))
      }
      return Effect.reduce(found, cursor, (next, one) => putBehind(run, about, next, [one]))
    })
  )

const withRows = (cursor: MoveCursor, followed: FollowedRows): MoveCursor => ({
  ...cursor,
  ...StreamRows.merged([cursor, followed])
})

/** The failure of a move before it was begun. */
export const failedBy = ({
  move,
  problem
}: {
  readonly move: Move
  readonly problem: { readonly _tag: string; readonly message: string }
}): FailedMove => failedWith(move, problem)

/** The failure of a move. */
export const failedWith = (
  { aggregateId, from, to }: Move,
  { _tag, message }: { readonly _tag: string; readonly message: string }
): FailedMove => ({ id: aggregateId, from, to, error: { _tag, message } })
