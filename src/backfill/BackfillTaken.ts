/**
 * The streams that earlier rows of a plan would have begun: a plan writes none, and so does not find them.
 */
import { streamKey } from "../event/AppendRules.js"
import type { Backfill } from "../event/Backfill.js"
import { streamId } from "../event/Backfill.js"
import type { Verdict } from "./BackfillRow.js"
import * as BackfillRow from "./BackfillRow.js"

/** The streams that are taken so far. */
export class BackfillTaken {
  private readonly streams = new Set<string>()

  constructor(private readonly backfill: Pick<Backfill<unknown, never>, "name">) {}

  /** The verdicts, of which those that would begin a stream again fail. */
  without(verdicts: ReadonlyArray<Verdict>): ReadonlyArray<Verdict> {
    const { name } = this.backfill
    return verdicts.map((verdict) => {
      const [first] = verdict._tag === "Append" ? verdict.events : []
      // An id that follows from the key of a row is that row's alone.
      if (first === undefined || first.aggregateId === streamId(name, verdict.key)) return verdict
      const stream = streamKey(first)
      if (this.streams.has(stream)) return BackfillRow.taken(name, verdict.key, first.aggregateId)
      this.streams.add(stream)
      return verdict
    })
  }
}
