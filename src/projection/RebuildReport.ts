/**
 * What a rebuild did, would do, or found to differ.
 */
import type { RebuildProblem } from "./RebuildProblem.js"

/** Rows that were written, or would be. */
export interface RowCounts {
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
}

/** What was done to the tables of one projection, or of several that share them. */
export interface RebuildReport {
  readonly projections: ReadonlyArray<string>
  readonly tables: ReadonlyArray<string>
  /** None where another process did the work, and this one waited for it. */
  readonly runId: string
  readonly mode: "merge" | "gradual" | "swap"
  /** How many events were folded. */
  readonly events: number
  /** What differed in the live tables, and was put right. */
  readonly rows: RowCounts
  /** Live rows without any event. */
  readonly ghosts: { readonly kept: number; readonly deleted: number; readonly keys: ReadonlyArray<string> }
  /** Rows that writers of before the cut-over had written over, and that were put right. */
  readonly mended: number
  /** The transactions of before the cut-over that were still open when there was no more waiting for them. */
  readonly unsettled: ReadonlyArray<string>
  /** Events that were left out, in the table of dead letters. */
  readonly deadLetters: number
  /** How often the cut-over was tried, and how long writers were stopped by the one that went through. */
  readonly cutOver: { readonly tries: number; readonly stalledMs: number }
  /** How often the rebuild began anew, as tables or archived streams changed meanwhile. */
  readonly anew: number
  readonly notes: ReadonlyArray<string>
}

/** What a rebuild would do. */
export interface RebuildPlan {
  readonly projections: ReadonlyArray<string>
  readonly tables: ReadonlyArray<string>
  readonly mode: "merge" | "gradual" | "swap" | "auto"
  readonly events: number
  /** Live rows, as far as the server's statistics know. */
  readonly rows: number
  readonly ghosts: number
  /** Room that shadow, indexes and log take on disk. */
  readonly bytes: number
  /** What is worth knowing before it is begun. */
  readonly notes: ReadonlyArray<string>
  /** What it would refuse. */
  readonly problems: ReadonlyArray<RebuildProblem>
}

/** Rows that differ, with the keys of the first, each as JSON. */
export interface DifferingRows {
  readonly count: number
  readonly keys: ReadonlyArray<string>
}

/** How a live table differs from the fold of its events. */
export interface TableDiff {
  readonly table: string
  /** Rows that the live table lacks. */
  readonly missing: DifferingRows
  /** Rows that the events do not give. */
  readonly surplus: DifferingRows
  /** Rows that are there with other values. */
  readonly different: DifferingRows
}

/** How the live tables of a projection, or of several that share them, differ from the fold of their events. */
export interface RebuildDiff {
  readonly projections: ReadonlyArray<string>
  readonly events: number
  readonly tables: ReadonlyArray<TableDiff>
  /** Events that were left out, as they cannot be read or folded. */
  readonly deadLetters: number
}

/** Whether nothing differs. */
export const isEqual = ({ tables }: RebuildDiff): boolean =>
  tables.every(({ different, missing, surplus }) => missing.count + surplus.count + different.count === 0)
