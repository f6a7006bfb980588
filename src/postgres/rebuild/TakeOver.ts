/**
 * The live table takes over: what differs is found, the way is chosen, and the cut-over is tried until it gets through.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Arr from "effect/Array"
import type { Fold, Rows } from "../../event/FoldDefinition.js"
import * as KeyFold from "../../projection/KeyFold.js"
import { ProjectionRecords } from "../../event/ProjectionRecords.js"
import { GhostRows, UnexpectedGhosts } from "../../projection/RebuildProblem.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import * as Comparison from "./Comparison.js"
import * as CutOver from "./CutOver.js"
import * as DeadLetters from "./DeadLetters.js"
import * as Gradual from "./Gradual.js"
import * as Merging from "./Merging.js"
import type { Done } from "./RebuildState.js"
import * as RebuildState from "./RebuildState.js"
import * as Rounds from "./Rounds.js"
import type { Shadow } from "./Shadow.js"
import * as ShadowEvents from "./ShadowEvents.js"
import type { ShadowTable } from "./ShadowTable.js"
import * as Swap from "./Swap.js"

/** From the end of the bulk until the live table is what was computed. */
export const run = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    let state = from
    const tries = yield* CutOver.untried
    for (let slow = 0; ;) {
      state = yield* Rounds.run(shadow, table, work, state)
      const found = yield* compared(shadow, table, work, state)
      const mode = modeOf(shadow, table, found.differences)
      if (mode === "gradual") yield* Gradual.run(shadow, table, work, state.at)
      if (mode === "swap") yield* Swap.prepare(shadow, table)
      state = yield* Rounds.catchUp(shadow, table, work, state)
      const attempt = cutOver(shadow, table, state, mode, found, slow < 3)
      const result = yield* Effect.catchTag(CutOver.tried(shadow, attempt, tries), "TooSlow", () => {
        slow++
        return Effect.succeedNone
      })
      if (Option.isSome(result)) return { ...result.value, tries: yield* Ref.get(tries.count) }
    }
  })

interface Compared {
  readonly differences: Comparison.Differences
  readonly ghosts: Done["ghosts"]
}

/** Finds what differs, and what becomes of rows without any event. */
const compared = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, { at }: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const { ghosts: treated } = shadow.policy
    const found = yield* shadow.run.batch(
      Effect.gen(function* () {
        const counted = yield* comparedFor(shadow, table)
        if (!isByAggregate(shadow.target)) {
          const events = yield* ShadowEvents.above(shadow, at, "known")
          yield* Comparison.unghost(table, [...KeyFold.keysOf(KeyFold.partsOf(work, events)).values()])
        }
        const written = yield* Comparison.count(table)
        const differences = { ...written, ...Option.getOrUndefined(counted) }
        const keys = differences.ghosts === 0 ? [] : yield* Comparison.first(table, "w.es_ops_ghost")
        return { value: { differences, keys }, phase: "comparing" }
      })
    )
    const { ghosts: count } = found.differences
    const { expect } = shadow.policy
    if (count > 0 && treated === "refuse")
      return yield* new GhostRows({
        projection: shadow.target.name,
        table: table.live.table.name,
        count,
        keys: found.keys
      })
    if (treated === "delete" && Option.exists(expect, (expected) => expected !== count))
      return yield* new UnexpectedGhosts({
        projection: shadow.target.name,
        expected: Option.getOrElse(expect, () => count),
        found: count
      })
    const ghosts = {
      kept: treated === "keep" ? count : 0,
      deleted: treated === "delete" ? count : 0,
      keys: found.keys
    }
    return { differences: found.differences, ghosts }
  })

/** What differs is written down for a merge. A swap needs its count alone, which is answered then. Inside a batch. */
const comparedFor = (shadow: Shadow, table: ShadowTable) =>
  Effect.gen(function* () {
    const { mode } = shadow.policy
    const canSwap = mode === "swap" || (mode === "auto" && Swap.isPossible(table))
    if (mode !== "swap") yield* Comparison.compare(shadow, table, canSwap ? mostMerged(shadow) + 1 : undefined)
    if (!canSwap || (mode === "auto" && sumOf(yield* Comparison.count(table)) <= mostMerged(shadow)))
      return Option.none()
    return Option.some(yield* Comparison.compareCounting(shadow, table))
  })

/** Writers are stopped for 0.3 s by a merge of 50,000 rows. */
const mostMerged = ({ policy }: Shadow): number => Math.floor((Duration.toMillis(policy.maxStall) / 300) * 50_000)

const sumOf = ({ different, missing, surplus }: Comparison.Differences): number => different + missing + surplus

const modeOf = (shadow: Shadow, table: ShadowTable, differences: Comparison.Differences): Done["mode"] => {
  const { mode } = shadow.policy
  if (mode !== "auto") return mode
  if (sumOf(differences) <= mostMerged(shadow)) return "merge"
  return Swap.isPossible(table) ? "swap" : "gradual"
}

/** One try, in one transaction. */
const cutOver = (
  shadow: Shadow,
  table: ShadowTable,
  state: RebuildState.RebuildState,
  mode: Done["mode"],
  { differences, ghosts }: Compared,
  isBounded: boolean
) =>
  shadow.run.batch(
    Effect.gen(function* () {
      yield* CutOver.lock(shadow, mode === "swap" ? "ACCESS EXCLUSIVE" : "EXCLUSIVE")
      const startedAt = yield* Clock.currentTimeMillis
      yield* Merging.want(table, yield* CutOver.touched(shadow, table, state.at))
      const folded = (yield* Clock.currentTimeMillis) - startedAt
      if (isBounded && folded > Duration.toMillis(shadow.policy.maxStall)) return yield* new CutOver.TooSlow()
      if (mode !== "swap" && ghosts.kept > 0) yield* Comparison.forgetGhosts(table)
      const rows =
        mode === "swap"
          ? yield* Effect.as(Swap.run(shadow, table), {
              inserted: differences.missing,
              updated: differences.different,
              deleted: differences.surplus - ghosts.kept
            })
          : yield* Merging.merge(shadow.target.name, table)
      yield* recorded(shadow)
      yield* DeadLetters.forget(shadow)
      const stalledMs = Math.round((yield* Clock.currentTimeMillis) - startedAt)
      const done = { mode, rows, ghosts, stalledMs, tries: 0 }
      const next = { ...state, stage: "settling" as const, done }
      return { value: { state: next, done }, phase: "settling", cursor: RebuildState.cursorOf(next) }
    })
  )

/** Records the versions of the definitions that the tables are built with. */
const recorded = ({ run, target }: Shadow) =>
  Effect.flatMap(ProjectionRecords, (records) =>
    records.built(
      Arr.map(target.projections, ({ name, version = 1 }) => ({ name, version })),
      run.id
    )
  )
