/**
 * The differences of a live table from the fold of its events, as both are in one snapshot.
 */
import * as Effect from "effect/Effect"
import * as Comparison from "./Comparison.js"
import * as CutOver from "./CutOver.js"
import type { Shadow } from "./Shadow.js"
import * as ShadowRows from "./ShadowRows.js"
import type { ShadowTable } from "./ShadowTable.js"
import * as Snapshot from "./Snapshot.js"

/** What is written for it goes into the shadow, and is rolled back. */
export const of = (shadow: Shadow, table: ShadowTable, m: bigint) =>
  Snapshot.of("READ WRITE")(
    Effect.gen(function* () {
      yield* ShadowRows.put(table, yield* CutOver.touched(shadow, table, m))
      return yield* Comparison.tableDiff(shadow, table)
    })
  )
