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
  /** The types of the events that its rows became, in this run or before: projections that handle one of them are fed by it. */
  readonly eventTypes: ReadonlyArray<string>
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

/** Before the name of an event type, in the counters of a run: they are added up over lanes and processes. */
const ofType = "rows of type "

/** How far a backfill came. */
export class Progress {
  after: Option.Option<string> = Option.none()
  private changedKeys: ReadonlyArray<string> = []
  private failures: ReadonlyArray<FailedRow> = []
  private counts: Record<string, number> = {}

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
    this.count("rows")
    switch (verdict._tag) {
      case "Append":
        this.count("appended")
        this.count("events", verdict.events.length)
        break
      case "Done":
        this.count("already")
        break
      case "Changed":
        this.count("changed")
        this.changedKeys = [...this.changedKeys, verdict.key].slice(0, listed)
        break
      case "Failed": {
        const { _tag, message } = verdict.error
        this.count("failed")
        this.failures = [...this.failures, { key: verdict.key, error: { _tag, message } }].slice(0, listed)
        return
      }
    }
    for (const type of verdict.types) this.count(`${ofType}${type}`)
  }

  private count(name: string, by = 1): void {
    this.counts[name] = (this.counts[name] ?? 0) + by
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
      failures: this.failures,
      eventTypes: Object.keys(counts)
        .filter((name) => name.startsWith(ofType))
        .map((name) => name.slice(ofType.length))
        .toSorted()
    }
  }
}

const merged = (a: Counts, b: Counts): Record<string, number> => {
  const sum: Record<string, number> = { ...a }
  for (const [name, count] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + count
  return sum
}
