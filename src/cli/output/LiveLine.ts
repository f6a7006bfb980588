/**
 * The line about a seed or a long operation that runs or waits: drawn anew on a terminal, a plain line from time to time elsewhere.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Layout from "./Layout.js"
import { Terminal } from "./Terminal.js"

/** What a seed, or a long operation, does at the moment. */
export interface Doing {
  readonly id: string
  /** A phrase with the seed as its subject: "runs". */
  readonly what: string
  /** Whether it is said for how long. Default: yes. */
  readonly isTimed?: boolean
}

export interface LiveLine {
  /** Shows this from here on; the time of the same thing is counted from its first call. */
  readonly begin: (doing: Doing) => Effect.Effect<void>
  /** Shows something else of the same thing, whose time goes on. */
  readonly update: (doing: Doing) => Effect.Effect<void>
  /** Shows nothing any more. */
  readonly end: Effect.Effect<void>
}

const drawnEvery = "100 millis"
const mentionedEvery = "10 seconds"

/** Makes a line that goes when the scope is closed. */
export const make: Effect.Effect<LiveLine, never, Terminal | Scope.Scope> = Effect.gen(function* () {
  const { err, interactive, live } = yield* Terminal
  const current = yield* Ref.make(Option.none<Doing & { readonly since: number }>())
  const show = Effect.gen(function* () {
    const doing = yield* Ref.get(current)
    if (Option.isNone(doing)) return
    const { id, isTimed = true, since, what } = doing.value
    const passed = Layout.seconds((yield* Clock.currentTimeMillis) - since)
    yield* interactive
      ? live(`${Layout.column("…")}${id}  ${what}${isTimed ? `, ${passed}` : ""}`)
      : err(`[${id}] ${what}${isTimed ? `, ${passed} so far` : ""}`)
  })
  const period = interactive ? drawnEvery : mentionedEvery
  // The first line comes after a period: what takes less time is not shown.
  yield* Effect.forkScoped(Effect.delay(Effect.repeat(show, Schedule.spaced(period)), period))
  yield* Effect.addFinalizer(() => live(""))
  return {
    begin: ({ id, isTimed = true, what }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Ref.update(current, (before) =>
          Option.exists(before, (doing) => doing.id === id && doing.what === what)
            ? before
            : Option.some({ id, what, isTimed, since: now })
        )
      ),
    update: ({ id, what }) =>
      Ref.update(
        current,
        Option.map((doing) => ({ ...doing, id, what }))
      ),
    end: Effect.zipRight(Ref.set(current, Option.none()), live(""))
  }
})
