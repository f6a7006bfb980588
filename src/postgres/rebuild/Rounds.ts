/**
 * Rounds after the bulk: events are settled, and what came since is folded in, until a round is short.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { EventFeed } from "../../event/EventFeed.js"
import type { Fold, Rows } from "../../event/FoldDefinition.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { KeyRow } from "../../projection/KeyFold.js"
import { KeyStates } from "../../projection/KeyFold.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import type { PgSql } from "../client/PgSql.js"
import { Outdated } from "./CutOver.js"
import * as DeadLetters from "./DeadLetters.js"
import * as KeyFolding from "./KeyFolding.js"
import * as Merging from "./Merging.js"
import * as RebuildState from "./RebuildState.js"
import type { Shadow } from "./Shadow.js"
import * as ShadowEvents from "./ShadowEvents.js"
import * as ShadowRows from "./ShadowRows.js"
import type { ShadowTable } from "./ShadowTable.js"

/** A round that takes less than this is the last, in milliseconds. */
const short = 1000

/** How many events are folded in one batch. */
const together = 5000

/** Before the lock: what came in less than this is left to it, in milliseconds. */
const brief = 50

/** How often what came since is folded before the lock, at most: a writer can be faster. */
const most = 5

/** How long that waits for transactions that append: what is behind one that takes longer is left to the lock, which needs not wait for it. */
const patience = "200 millis"

/** Folds in what is settled, again and again; answers with where the shadow stands then. */
export const run = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    let state = from
    for (;;) {
      const startedAt = yield* Clock.currentTimeMillis
      const m = yield* feed.settled(shadow.policy.lockTimeout)
      yield* adoptArchived(shadow, table, work, state)
      state = yield* round(shadow, table, work, state, m)
      if ((yield* Clock.currentTimeMillis) - startedAt < short) return state
    }
  })

/**
 * Folds in what came while rows were compared, and writes down what its keys are to have: under the lock, which stops writers, only what came since
 * is folded.
 */
export const catchUp = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    let state = from
    for (let n = 0; n < most; n++) {
      const m = yield* Effect.catchTag(feed.settled(patience), "SettleTimeout", () => Effect.succeed(state.at))
      if (m <= state.at) return state
      const startedAt = yield* Clock.currentTimeMillis
      state = yield* round(shadow, table, work, state, m, (rows) => Merging.want(table, rows))
      if ((yield* Clock.currentTimeMillis) - startedAt < brief) return state
    }
    return state
  })

/** Folds in the events up to `m`; `written` is told of the rows that changed, in their batch. */
const round = (
  shadow: Shadow,
  table: ShadowTable,
  work: Fold | Rows,
  from: RebuildState.RebuildState,
  m: bigint,
  written: (rows: ReadonlyArray<KeyRow>) => Effect.Effect<void, DatabaseError, PgSql> = () => Effect.void
) =>
  Effect.gen(function* () {
    let state = from
    for (;;) {
      const { isDone, next } = yield* shadow.run.batch(
        Effect.gen(function* () {
          const events = yield* ShadowEvents.page(shadow, { after: state.at, upTo: m }, together)
          const states = new KeyStates(work, yield* DeadLetters.keptKeys(table))
          yield* KeyFolding.into(shadow, table, states, events)
          const rows = yield* KeyFolding.rowsOf(shadow, table, states, events.at(-1))
          yield* ShadowRows.put(table, rows)
          yield* written(rows)
          const isDone = events.length < together
          const last = events.at(-1)?.id ?? state.at
          const next = { ...state, at: isDone && m > last ? m : last }
          return {
            value: { isDone, next },
            phase: "rounds",
            cursor: RebuildState.cursorOf(next),
            done: events.length,
            total: yield* RebuildState.totalWith(shadow.run, events.length),
            counters: { events: events.length }
          }
        })
      )
      state = next
      if (isDone) return state
    }
  })

/** Streams that were archived or restored meanwhile: their aggregates are folded from their first event, in a batch each thousand. */
const adoptArchived = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, { at }: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const changed = yield* ShadowEvents.changedSides(shadow)
    if (changed.length === 0) return
    if (!isByAggregate(shadow.target)) return yield* new Outdated({ reason: "streams were archived or restored" })
    yield* shadow.run.batch(
      Effect.gen(function* () {
        const ids = (yield* ShadowEvents.syncArchived(shadow)).map(({ aggregateId }) => aggregateId)
        yield* KeyFolding.refold(shadow, table, work, ids, at)
        return { value: undefined }
      })
    )
  })
