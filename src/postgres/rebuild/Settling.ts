/**
 * After the cut-over: when the transactions that were open then are over, the keys of all events since are folded once more, and what one of those
 * transactions has written over is put right.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { keyText } from "../../event/ReadTables.js"
import type { Fold, Rows } from "../../event/FoldDefinition.js"
import type { Key } from "../../event/Table.js"
import type { KeyRow } from "../../projection/KeyFold.js"
import type { RowCounts } from "../../projection/RebuildReport.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import * as KeyFolding from "./KeyFolding.js"
import * as Merging from "./Merging.js"
import * as OpenTransactions from "./OpenTransactions.js"
import type { Shadow } from "./Shadow.js"
import * as ShadowEvents from "./ShadowEvents.js"
import type { ShadowTable } from "./ShadowTable.js"
import * as Snapshot from "./Snapshot.js"
import * as Stuck from "./Stuck.js"

/** What came of it. */
export interface Settled {
  readonly mended: number
  readonly unsettled: ReadonlyArray<string>
}

/** Settles the rows of all keys that have an event above `m`: until none is wrong, or there is no more time. */
export const settle = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, m: bigint) =>
  Effect.gen(function* () {
    const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(shadow.policy.lockTimeout)
    let mended = 0
    for (let round = 1; ; round++) {
      const left = yield* OpenTransactions.ended(yield* OpenTransactions.find, until)
      const wrong = yield* Snapshot.of("READ ONLY")(wrongKeys(shadow, table, work, m))
      if (Arr.isNonEmptyReadonlyArray(wrong)) mended += yield* mend(shadow, table, work, m, wrong)
      const isOver = wrong.length === 0 || (yield* Clock.currentTimeMillis) >= until || round >= rounds
      // Who reads a wrong row may write what follows on it: then it is found again when he is done.
      if (isOver) return { mended, unsettled: left.map(({ what }) => what) }
    }
  })

/** How often rows are put right that others write over again. */
const rounds = 20

/** The keys whose live rows are not what their events give, in one snapshot. */
const wrongKeys = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, m: bigint) =>
  Effect.flatMap(wantedNow(shadow, table, work, m, []), (rows) => Merging.wrong(table, rows))

const mend = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, m: bigint, wrong: ReadonlyArray<Key>) =>
  Effect.reduce(Arr.chunksOf(wrong, 1000), 0, (mended, keys) =>
    Arr.isNonEmptyReadonlyArray(keys)
      ? Effect.map(
          shadow.run.batch(
            Effect.gen(function* () {
              const locked = yield* Merging.lock(table, keys)
              const rows = yield* wantedOf(shadow, table, work, m, keys)
              const counts = yield* corrected(shadow, table, locked, rows)
              return { value: counts, counters: { mended: counts.inserted + counts.updated + counts.deleted } }
            })
          ),
          ({ deleted, inserted, updated }) => mended + inserted + updated + deleted
        )
      : Effect.succeed(mended)
  )

/** Rows that get stuck are corrected as in a merge; where a writer comes between, the next round finds them again. */
const corrected = (shadow: Shadow, table: ShadowTable, locked: ReadonlySet<string>, rows: ReadonlyArray<KeyRow>) =>
  Effect.gen(function* () {
    const counts = yield* Stuck.unlessStuck(Merging.correct(table, locked, rows, { isComplete: true }))
    if (Option.isSome(counts)) return counts.value
    const merged = yield* Stuck.unlessStuck(Merging.mergeOnly(shadow.target.name, table, rows))
    return Option.getOrElse(merged, (): RowCounts => ({ inserted: 0, updated: 0, deleted: 0 }))
  })

/** What keys are to have, by the events that can be seen now. */
export const wantedOf = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, m: bigint, keys: ReadonlyArray<Key>) =>
  Effect.map(
    isByAggregate(shadow.target)
      ? wantedNow(shadow, table, work, m, keys, keys.flatMap(aggregateOf))
      : wantedNow(shadow, table, work, m, keys),
    (rows) => {
      const texts = new Set(keys.map((key) => keyText(table.live.table, key)))
      return rows.filter(({ key }) => texts.has(keyText(table.live.table, key)))
    }
  )

const aggregateOf = (key: Key): ReadonlyArray<string> => Object.values(key).map(String)

/** What the keys of all events above `m` are to have; those of streams that were archived or restored since are folded from their first event. */
const wantedNow = (
  shadow: Shadow,
  table: ShadowTable,
  work: Fold | Rows,
  m: bigint,
  also: ReadonlyArray<Key>,
  only?: ReadonlyArray<string>
) =>
  Effect.gen(function* () {
    const changed = isByAggregate(shadow.target) ? yield* ShadowEvents.changedSides(shadow) : []
    const wanted = only === undefined ? undefined : new Set(only)
    const ids = Arr.dedupe(changed.map(({ aggregateId }) => aggregateId)).filter((id) => wanted?.has(id) ?? true)
    const narrowed = Option.filter(Option.fromNullable(only), Arr.isNonEmptyReadonlyArray)
    const events =
      only !== undefined && Option.isNone(narrowed)
        ? []
        : yield* ShadowEvents.above(shadow, m, "now", Option.getOrUndefined(narrowed))
    const anew = {
      keys: KeyFolding.keysOfAggregates(table, ids),
      events: Arr.isNonEmptyReadonlyArray(ids) ? yield* ShadowEvents.ofAll(shadow, ids, "now") : []
    }
    return yield* KeyFolding.wanted(shadow, table, work, events, { anew, also, noted: passedOver })
  })

/** The table is built: an event that was appended since and cannot be folded leaves its row as it is. */
const passedOver = () => Effect.void
