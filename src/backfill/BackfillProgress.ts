/**
 * How far a backfill, or a lane of one, came: counts, and the first of the rows that are worth a look.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Verdict } from "./BackfillRow.js"

/** A row that was left out, and why. */
export interface FailedRow {
  readonly key: string
  readonly error: { readonly _tag: string; readonly message: string }
}

/** What a backfill did, or in a plan would do. */
export interface BackfillReport {
  readonly backfill: string
  /** How many rows the source had. */
  readonly rows: number
  /** How many of them became events, and how many events. */
  readonly appended: number
  readonly events: number
  /** Rows that were events already. */
  readonly done: number
  /** Rows that are not what their events were made of: the first of them. */
  readonly changed: number
  readonly changedKeys: ReadonlyArray<string>
  readonly failed: number
  readonly failures: ReadonlyArray<FailedRow>
}

/** How many rows are listed. */
const listed = 20

const Cursor = Schema.Struct({
  after: Schema.String,
  changedKeys: Schema.Array(Schema.String),
  failures: Schema.Array(
    Schema.Struct({ key: Schema.String, error: Schema.Struct({ _tag: Schema.String, message: Schema.String }) })
  )
})

type Counts = Readonly<Record<string, number>>

/** How far a backfill came. */
export class Progress {
  after: Option.Option<string> = Option.none()
  private changedKeys: ReadonlyArray<string> = []
  private failures: ReadonlyArray<FailedRow> = []
  private counts: Counts = {}

  /** With what stands in the cursors of the run, or of its lanes. */
  constructor(
    private readonly name: string,
    cursors: ReadonlyArray<Option.Option<unknown>>
  ) {
    for (const cursor of cursors) {
      const stored = Option.flatMap(cursor, Schema.decodeUnknownOption(Cursor))
      if (Option.isNone(stored)) continue
      const { after, changedKeys, failures } = stored.value
      this.after = Option.some(after)
      this.changedKeys = [...this.changedKeys, ...changedKeys].slice(0, listed)
      this.failures = [...this.failures, ...failures].slice(0, listed)
    }
  }

  /** Notes what became of rows, up to a key; answers with what that adds to the counters. */
  addAll(verdicts: ReadonlyArray<Verdict>, last: Option.Option<string>): Counts {
    const before = this.counts
    this.counts = {}
    for (const verdict of verdicts) this.add(verdict)
    const added = this.counts
    this.counts = merged(before, added)
    this.after = Option.orElse(last, () => this.after)
    return added
  }

  add(verdict: Verdict): void {
    switch (verdict._tag) {
      case "Append":
        this.counts = merged(this.counts, { rows: 1, appended: 1, events: verdict.events.length })
        return
      case "Done":
        this.counts = merged(this.counts, { rows: 1, already: 1 })
        return
      case "Changed":
        this.counts = merged(this.counts, { rows: 1, changed: 1 })
        this.changedKeys = [...this.changedKeys, verdict.key].slice(0, listed)
        return
      case "Failed": {
        const { _tag, message } = verdict.error
        this.counts = merged(this.counts, { rows: 1, failed: 1 })
        this.failures = [...this.failures, { key: verdict.key, error: { _tag, message } }].slice(0, listed)
      }
    }
  }

  cursor(): unknown {
    const { changedKeys, failures } = this
    return Option.getOrUndefined(Option.map(this.after, (after) => ({ after, changedKeys, failures })))
  }

  report(counts: Counts = this.counts): BackfillReport {
    const count = (name: string) => counts[name] ?? 0
    return {
      backfill: this.name,
      rows: count("rows"),
      appended: count("appended"),
      events: count("events"),
      done: count("already"),
      changed: count("changed"),
      changedKeys: this.changedKeys,
      failed: count("failed"),
      failures: this.failures
    }
  }
}

const merged = (a: Counts, b: Counts): Counts => {
  const sum: Record<string, number> = { ...a }
  for (const [name, count] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + count
  return sum
}
