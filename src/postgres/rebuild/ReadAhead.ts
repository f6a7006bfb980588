/**
 * Pages of events that are read ahead: while one is folded, the server is at the rows of the one before and at the next one.
 */
import * as Effect from "effect/Effect"
import type { Event } from "../../event/Event.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as ShadowEvents from "./ShadowEvents.js"

/** How many events are read at once: few enough to be gone before the garbage collector calls them old. */
export const together = 1000

/** What is done with each page. */
export interface PageWork<P, W, E1, R1, E2, R2, E3, R3> {
  /** Reads up to `together` events behind a place; and writes what came of a page before, in the same message where that can be. */
  readonly read: (after: P, folded: Option.Option<W>) => Effect.Effect<ReadonlyArray<unknown>, E1, R1>
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

/** Through so many turns of other fibers a statement goes until it is sent, and a few more. */
const turns = 10

/** Begins to read. The statement is sent before the fiber goes on with a page, which leaves no other fiber a turn. */
export const begin = <A, E, R>(read: Effect.Effect<A, E, R>) =>
  Effect.zipLeft(Effect.forkScoped(read), Effect.repeatN(Effect.yieldNow(), turns))

/** Works on pages from a place on, until there were so many events or there are no more. All statements are those of the fiber's transaction. */
export const pages = <P, W, E1, R1, E2, R2, E3, R3>(
  from: P,
  most: number,
  { fold, placeOf, read, write }: PageWork<P, W, E1, R1, E2, R2, E3, R3>
): Effect.Effect<Read<P>, E1 | E2 | E3 | DatabaseError, R1 | R2 | R3> =>
  Effect.scoped(
    Effect.gen(function* () {
      let place = from
      let count = 0
      let folded = Option.none<W>()
      let next = yield* begin(read(place, folded))
      for (;;) {
        const rows = yield* Fiber.join(next)
        const [last] = yield* ShadowEvents.eventsOf(rows.slice(-1))
        if (last !== undefined) place = placeOf(last)
        count += rows.length
        const ends = rows.length < together
        const isOver = ends || count >= most
        if (!isOver) next = yield* begin(read(place, folded))
        else if (Option.isSome(folded)) yield* write(folded.value)
        const done = yield* fold(yield* ShadowEvents.eventsOf(rows), ends)
        folded = Option.some(done)
        if (!isOver) continue
        yield* write(done)
        return { place, count, ends }
      }
    })
  )
