/**
 * Pages of events that are read ahead: while one is folded, the server is at the rows of the one before and at the next one.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Event } from "../../event/Event.js"

/** How many events are read at once: few enough to be gone before the garbage collector calls them old. */
export const together = 1000

/** What is done with each page. */
export interface PageWork<P, W, E1, R1, E2, R2, E3, R3> {
  /** Reads up to `together` events behind a place. */
  readonly read: (after: P) => Effect.Effect<ReadonlyArray<Event>, E1, R1>
  readonly placeOf: (event: Event) => P
  /** Folds a page; `ends`: it is the last of all. */
  readonly fold: (events: ReadonlyArray<Event>, ends: boolean) => Effect.Effect<W, E2, R2>
  /** Writes what came of it. Pages are written in their order. */
  readonly write: (folded: W) => Effect.Effect<void, E3, R3>
}

/** How far it came. */
export interface Read<P> {
  readonly place: P
  readonly count: number
  /** Whether there are no more events. */
  readonly ends: boolean
}

/** Works on pages from a place on, until there were so many events or there are no more. All statements are those of the fiber's transaction. */
export const pages = <P, W, E1, R1, E2, R2, E3, R3>(
  from: P,
  most: number,
  { fold, placeOf, read, write }: PageWork<P, W, E1, R1, E2, R2, E3, R3>
): Effect.Effect<Read<P>, E1 | E2 | E3, R1 | R2 | R3> =>
  Effect.scoped(
    Effect.gen(function* () {
      let place = from
      let count = 0
      let next = yield* Effect.forkScoped(read(place))
      let writing: Fiber.Fiber<void, E3> = Fiber.void
      for (;;) {
        const events = yield* Fiber.join(next)
        const last = events.at(-1)
        if (last !== undefined) place = placeOf(last)
        count += events.length
        const ends = events.length < together
        const isOver = ends || count >= most
        if (!isOver) next = yield* Effect.forkScoped(read(place))
        const folded = yield* fold(events, ends)
        yield* Fiber.join(writing)
        writing = yield* Effect.forkScoped(write(folded))
        if (!isOver) continue
        yield* Fiber.join(writing)
        return { place, count, ends }
      }
    })
  )
