/**
 * The rebuild of projections by `Projection.make`: their functions are run against shadows of their tables, event by event in the order of ids.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import { EventFeed } from "../../event/EventFeed.js"
import type { EventStore } from "../../event/EventStore.js"
import { ProjectionRecords } from "../../event/ProjectionRecords.js"
import * as BatchSize from "../../operation/BatchSize.js"
import type { RowCounts } from "../../projection/RebuildReport.js"
import { GhostRows, UnexpectedGhosts } from "../../projection/RebuildProblem.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as Applying from "./Applying.js"
import * as Comparison from "./Comparison.js"
import * as CutOver from "./CutOver.js"
import * as DeadLetters from "./DeadLetters.js"
import * as Merging from "./Merging.js"
import * as OpenTransactions from "./OpenTransactions.js"
import type { Done } from "./RebuildState.js"
import * as RebuildState from "./RebuildState.js"
import type { Shadow } from "./Shadow.js"
import { commentOf, send } from "./Shadow.js"
import * as ShadowEvents from "./ShadowEvents.js"
import * as Snapshot from "./Snapshot.js"
import * as Touched from "./Touched.js"

/** The streams that were left out so far. */
const leftOut = ({ run }: Shadow) =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const schema = yield* PgSchema
    const found = yield* sql
      .unsafe(
        `SELECT DISTINCT tenant_id || '/' || aggregate_id AS stream FROM ${schema.kind("es_ops_dead_letters")} WHERE run_id = ${literal(run.id)}::uuid`
      )
      .pipe(rows("reading dead letters", Schema.Struct({ stream: Schema.String })))
    return new Set(found.map(({ stream }) => stream))
  })

/** Applies what is settled, again and again, until a round is short; answers with where the shadow stands then. */
export const settledRounds = (shadow: Shadow, store: EventStore["Type"], from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    const size = yield* BatchSize.make({ initial: 500, min: 50, max: 10_000 })
    const out = yield* leftOut(shadow)
    let state = from
    let upTo = from.stage === "bulk" ? from.upTo : yield* feed.settled(shadow.policy.lockTimeout)
    for (;;) {
      const startedAt = yield* Clock.currentTimeMillis
      if ((yield* ShadowEvents.changedSides(shadow)).length > 0)
        return yield* new CutOver.Outdated({ reason: "streams were archived or restored" })
      state = yield* applied(shadow, store, out, state, upTo, size)
      if ((yield* Clock.currentTimeMillis) - startedAt < 1000 && state.stage === "rounds") return state
      state = { ...state, stage: "rounds" }
      upTo = yield* feed.settled(shadow.policy.lockTimeout)
    }
  })

const applied = (
  shadow: Shadow,
  store: EventStore["Type"],
  out: Applying.LeftOut,
  from: RebuildState.RebuildState,
  upTo: bigint,
  size: BatchSize.BatchSize
) =>
  Effect.gen(function* () {
    let state = from
    for (let isDone = false; !isDone;) {
      const limit = yield* size.get
      const made = yield* shadow.run.batch(
        Effect.gen(function* () {
          const events = yield* ShadowEvents.page(shadow, { after: state.at, upTo }, limit)
          yield* Applying.apply(shadow, store, out, events)
          const isDone = events.length < limit
          const last = events.at(-1)?.id ?? state.at
          const next = { ...state, at: isDone && upTo > last ? upTo : last }
          return {
            value: { next, isDone },
            phase: state.stage,
            cursor: RebuildState.cursorOf(next),
            done: events.length,
            total: yield* RebuildState.totalWith(shadow.run, events.length),
            counters: { events: events.length }
          }
        }),
        { size }
      )
      state = made.next
      isDone = made.isDone
    }
    return state
  })

/** Applies the events above `m` that can be seen and were not applied yet. Inside a transaction. */
const applyAbove = (shadow: Shadow, store: EventStore["Type"], out: Applying.LeftOut, m: bigint) =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const known = new Set(
      (yield* sql
        .unsafe(`SELECT id::text FROM ${shadow.applied}`)
        .pipe(rows("reading which events are applied", Schema.Struct({ id: Schema.String })))).map(({ id }) => id)
    )
    const events = (yield* ShadowEvents.above(shadow, m, "known")).filter(({ id }) => !known.has(`${id}`))
    yield* Applying.apply(shadow, store, out, events)
    yield* sql
      .unsafe(`INSERT INTO ${shadow.applied} SELECT jsonb_array_elements_text($1::jsonb)::bigint`, [
        JSON.stringify(events.map(({ id }) => `${id}`))
      ])
      .pipe(Effect.mapError(databaseError("noting which events are applied")))
  })

const noRows: RowCounts = { inserted: 0, updated: 0, deleted: 0 }

/** Compares all tables while others write, and notes from now on which keys the functions write: under the lock, only those are looked at. */
const comparedAhead = (shadow: Shadow) =>
  shadow.run.batch(
    Effect.gen(function* () {
      for (const table of shadow.tables) {
        yield* send("noting what is written", Touched.noting(table, commentOf(shadow.run.id)))
        yield* Comparison.compare(shadow, table)
      }
      return { value: undefined, phase: "comparing" }
    })
  )

/** Brings all tables to what was computed. They were compared ahead, and nobody else may write meanwhile. */
const mergeAll = (shadow: Shadow) =>
  Effect.reduce(shadow.tables, noRows, (sum, table) =>
    Effect.gen(function* () {
      yield* Comparison.compareTouched(shadow, table)
      if (shadow.policy.ghosts !== "delete") yield* Comparison.forgetGhosts(table)
      const counts = yield* Merging.merge(shadow.target.name, table)
      return {
        inserted: sum.inserted + counts.inserted,
        updated: sum.updated + counts.updated,
        deleted: sum.deleted + counts.deleted
      }
    })
  )

/** Rows that the shadow lacks, in one snapshot with all events that can be seen. */
const ghostsOf = (shadow: Shadow, store: EventStore["Type"], out: Applying.LeftOut, m: bigint) =>
  Snapshot.of("READ WRITE")(
    Effect.gen(function* () {
      yield* applyAbove(shadow, store, new Set(out), m)
      let count = 0
      const keys: Array<string> = []
      for (const table of shadow.tables) {
        yield* Comparison.compare(shadow, table)
        count += (yield* Comparison.count(table)).ghosts
        keys.push(...(yield* Comparison.first(table, "w.es_ops_ghost")))
      }
      return { count, keys: keys.slice(0, 20) }
    })
  )

const decided = (shadow: Shadow, found: { readonly count: number; readonly keys: ReadonlyArray<string> }) =>
  Effect.gen(function* () {
    const { expect, ghosts } = shadow.policy
    const [table] = shadow.tables
    if (found.count > 0 && ghosts === "refuse")
      return yield* new GhostRows({
        projection: shadow.target.name,
        table: table?.live.table.name ?? "",
        count: found.count,
        keys: found.keys
      })
    if (ghosts === "delete" && Option.exists(expect, (expected) => expected !== found.count))
      return yield* new UnexpectedGhosts({
        projection: shadow.target.name,
        expected: Option.getOrElse(expect, () => found.count),
        found: found.count
      })
    return {
      kept: ghosts === "keep" ? found.count : 0,
      deleted: ghosts === "delete" ? found.count : 0,
      keys: found.keys
    }
  })

/** From the end of the rounds until the live tables are what was computed. */
export const takeOver = (shadow: Shadow, store: EventStore["Type"], from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const out = yield* leftOut(shadow)
    let state = from
    const tries = yield* CutOver.untried
    for (let slow = 0; ;) {
      const ghosts = yield* decided(shadow, yield* ghostsOf(shadow, store, out, state.at))
      yield* comparedAhead(shadow)
      const attempt = cutOver(shadow, store, out, state, ghosts, slow < 3)
      const result = yield* Effect.catchTag(CutOver.tried(shadow, attempt, tries), "TooSlow", () => {
        slow++
        return Effect.succeedNone
      })
      if (Option.isSome(result)) {
        const done: Done = { ...result.value.done, tries: yield* Ref.get(tries.count) }
        return { ...result.value.state, done }
      }
      state = yield* settledRounds(shadow, store, state)
    }
  })

const cutOver = (
  shadow: Shadow,
  store: EventStore["Type"],
  out: Applying.LeftOut,
  state: RebuildState.RebuildState,
  ghosts: Done["ghosts"],
  isBounded: boolean
) =>
  shadow.run.batch(
    Effect.gen(function* () {
      yield* CutOver.lock(shadow, "EXCLUSIVE")
      const startedAt = yield* Clock.currentTimeMillis
      if ((yield* ShadowEvents.changedSides(shadow)).length > 0)
        return yield* new CutOver.Outdated({ reason: "streams were archived or restored" })
      yield* applyAbove(shadow, store, out, state.at)
      const applied = (yield* Clock.currentTimeMillis) - startedAt
      if (isBounded && applied > Duration.toMillis(shadow.policy.maxStall)) return yield* new CutOver.TooSlow()
      const rows = yield* mergeAll(shadow)
      const records = yield* ProjectionRecords
      yield* records.built(
        Arr.map(shadow.target.projections, ({ name, version = 1 }) => ({ name, version })),
        shadow.run.id
      )
      yield* DeadLetters.forget(shadow)
      const stalledMs = Math.round((yield* Clock.currentTimeMillis) - startedAt)
      const done: Done = { mode: "merge", rows, ghosts, tries: 1, stalledMs }
      const next: RebuildState.RebuildState = { ...state, stage: "settling", done }
      return { value: { state: next, done }, phase: "settling", cursor: RebuildState.cursorOf(next) }
    })
  )

/** How many rows differ, in one snapshot with all events that can be seen. */
const differing = (shadow: Shadow, store: EventStore["Type"], out: Applying.LeftOut, m: bigint) =>
  Snapshot.of("READ WRITE")(
    Effect.gen(function* () {
      yield* applyAbove(shadow, store, new Set(out), m)
      let count = 0
      for (const table of shadow.tables) {
        yield* Comparison.compare(shadow, table)
        const { different, ghosts, missing, surplus } = yield* Comparison.count(table)
        count += different + missing + surplus - (shadow.policy.ghosts === "delete" ? 0 : ghosts)
      }
      return count
    })
  )

/** When the transactions that were open at the cut-over are over, what they have written over is put right, under the lock again. */
export const settle = (shadow: Shadow, store: EventStore["Type"], { at }: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const out = yield* leftOut(shadow)
    const since = yield* Clock.currentTimeMillis
    const until = since + Duration.toMillis(shadow.policy.lockTimeout)
    let mended = 0
    for (let round = 1; ; round++) {
      const left = (yield* OpenTransactions.ended(yield* OpenTransactions.find, until)).map(({ what }) => what)
      if ((yield* differing(shadow, store, out, at)) === 0) return { mended, unsettled: left }
      yield* comparedAhead(shadow)
      const attempt = shadow.run.batch(
        Effect.gen(function* () {
          yield* CutOver.lock(shadow, "EXCLUSIVE")
          yield* applyAbove(shadow, store, out, at)
          const { deleted, inserted, updated } = yield* mergeAll(shadow)
          const count = inserted + updated + deleted
          return { value: count, counters: { mended: count } }
        })
      )
      const result = yield* CutOver.tried(shadow, attempt, yield* CutOver.untried)
      mended += Option.match(result, { onNone: () => 0, onSome: (value) => value })
      if (round >= 20 || (yield* Clock.currentTimeMillis) >= until) return { mended, unsettled: left }
    }
  })

/** How the live tables differ, in one snapshot with all events that can be seen. */
export const diff = (shadow: Shadow, store: EventStore["Type"], { at }: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const out = yield* leftOut(shadow)
    return yield* Snapshot.of("READ WRITE")(
      Effect.zipRight(
        applyAbove(shadow, store, out, at),
        Effect.forEach(shadow.tables, (table) => Comparison.tableDiff(shadow, table))
      )
    )
  })
