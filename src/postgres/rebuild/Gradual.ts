/**
 * The gradual way: rows that differ are corrected before the cut-over, a thousand at a time, while readers and writers go on.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Fold, Rows } from "../../event/FoldDefinition.js"
import * as Comparison from "./Comparison.js"
import * as Merging from "./Merging.js"
import * as Settling from "./Settling.js"
import type { Shadow } from "./Shadow.js"
import type { ShadowTable } from "./ShadowTable.js"
import * as Stuck from "./Stuck.js"

/** How many rows are locked at once. */
const together = 1000

/** Rows that are there on both sides. Missing rows, and rows to delete, are left to the cut-over. */
const both = "w.es_ops_present AND w.es_ops_there AND NOT w.es_ops_done"

/** Corrects what differs, by the events that can be seen when its rows are locked. */
export const run = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, m: bigint) =>
  Effect.iterate(false, {
    while: (isDone) => !isDone,
    body: () => shadow.run.batch(step(shadow, table, work, m))
  })

const step = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, m: bigint) =>
  Effect.gen(function* () {
    const keys = yield* Comparison.page(table, both, together)
    if (!Arr.isNonEmptyReadonlyArray(keys)) return { value: true, phase: "gradual" }
    const locked = yield* Merging.lock(table, keys)
    const rows = yield* Settling.wantedOf(shadow, table, work, m, keys)
    // Rows that get stuck are left to the cut-over as well.
    const counts = yield* Stuck.unlessStuck(Merging.correct(table, locked, rows, { isComplete: false }))
    yield* Option.isSome(counts) ? Comparison.forget(table, keys) : Comparison.putOff(table, keys)
    return {
      value: false,
      phase: "gradual",
      counters: { corrected: Option.match(counts, { onNone: () => 0, onSome: ({ updated }) => updated }) }
    }
  })
