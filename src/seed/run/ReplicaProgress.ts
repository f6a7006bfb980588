/**
 * What is done at each look at the markers, most of it by other replicas, and from that, how soon it is worth to look again. Pure.
 */
import * as Duration from "effect/Duration"
import * as LockWait from "../../operation/LockWait.js"

/** What was seen last. */
export interface ReplicaProgress {
  /** Markers, with their type of operation. */
  readonly applied: ReadonlyMap<string, string>
  /** How many seeds of the run are among them, its own included. */
  readonly done: number
  /** When it was looked, in milliseconds since the epoch. */
  readonly at: number
  /** Milliseconds after which everything may be done; not sooner and not later than the lock is asked for. */
  readonly next: number
}

/** When it is worth to look again where nothing was seen, in milliseconds. */
export const soonest = Duration.toMillis(LockWait.soonest)
const latest = Duration.toMillis(LockWait.longest)

/** Nothing was seen yet. */
export const unseen = (at: number): ReplicaProgress => ({ applied: new Map(), done: 0, at, next: soonest })

/**
 * Seen now, of a run of these seeds. If the others go on as fast as since the last look, the rest takes so long: who waits for the last one
 * learns of it when it is there, and not up to half a second later.
 */
export const seen = (
  before: ReplicaProgress,
  applied: ReadonlyMap<string, string>,
  at: number,
  ids: ReadonlyArray<string>
): ReplicaProgress => {
  const done = ids.filter((id) => applied.has(id)).length
  const rest = ((at - before.at) / Math.max(done - before.done, 0)) * (ids.length - done)
  // Without progress it is not a number, or without end.
  const next = rest < latest ? Math.max(soonest, Math.round(rest)) : latest
  return { applied, done, at, next }
}

/** How long to wait after an attempt at the lock that took so many milliseconds, where another look is worth it after `next`. */
export const delayed = (next: number, took: number): Duration.Duration =>
  Duration.millis(Math.min(Math.max(next, 2 * took), latest))
