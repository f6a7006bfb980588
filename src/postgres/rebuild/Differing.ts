/**
 * The differences of a live table from the fold of its events, as both are in one snapshot.
 */
import * as Effect from "effect/Effect"
import type { TableDiff } from "../../projection/RebuildReport.js"
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
      return yield* found(shadow, table)
    })
  )

const found = (shadow: Shadow, table: ShadowTable) =>
  Effect.gen(function* () {
    yield* Comparison.compare(shadow, table)
    const { different, missing, surplus } = yield* Comparison.count(table)
    const diff: TableDiff = {
      table: table.live.table.name,
      missing: { count: missing, keys: yield* Comparison.first(table, "NOT w.es_ops_there") },
      surplus: { count: surplus, keys: yield* Comparison.first(table, "NOT w.es_ops_present") },
      different: { count: different, keys: yield* Comparison.first(table, "w.es_ops_present AND w.es_ops_there") }
    }
    return diff
  })
