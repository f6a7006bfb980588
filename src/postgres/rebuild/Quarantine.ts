/**
 * Streams whose versions have gaps: where events that cannot be folded are left out, the keys of theirs keep their live rows.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as KeyFold from "../../projection/KeyFold.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import { PgSql, rows } from "../client/PgSql.js"
import * as DeadLetters from "./DeadLetters.js"
import * as Inspection from "./Inspection.js"
import * as KeyFolding from "./KeyFolding.js"
import type { Shadow } from "./Shadow.js"
import * as ShadowEvents from "./ShadowEvents.js"
import * as ShadowRows from "./ShadowRows.js"

/** Notes them, if there are any. Inside the first batch. */
export const incompleteStreams = (shadow: Shadow) =>
  Effect.gen(function* () {
    const [table] = shadow.tables
    const { work } = shadow.target
    if (shadow.policy.onPoison === "fail" || table === undefined) return
    const sql = yield* PgSql
    const found = yield* sql
      .unsafe(`SELECT id FROM (${Inspection.incompleteStreams(shadow.target)}) AS t (id) ORDER BY id`)
      .pipe(rows("looking for streams with gaps", Schema.Struct({ id: Schema.String })))
    const streams = new Set(found.map(({ id }) => id))
    const ids = Arr.dedupe(found.map(({ id }) => id.slice(id.indexOf("/") + 1)))
    if (!Arr.isNonEmptyReadonlyArray(ids)) return
    const events = (yield* ShadowEvents.ofAll(shadow, ids, "known")).filter(({ aggregateId, tenantId }) =>
      streams.has(`${tenantId}/${aggregateId}`)
    )
    const keys = isByAggregate(shadow.target)
      ? KeyFolding.keysOfAggregates(table, ids)
      : work._tag === "Apply"
        ? []
        : [...KeyFold.keysOf(KeyFold.partsOf(work, events)).values()]
    yield* ShadowRows.keep(table, keys)
    const firsts = Arr.dedupeWith(events, (a, b) => a.aggregateId === b.aggregateId && a.tenantId === b.tenantId)
    yield* DeadLetters.record(
      shadow,
      firsts.map((event) => ({
        projection: shadow.target.name,
        table: table.live.table.name,
        key: undefined,
        event,
        reason: "versions of its stream are missing"
      }))
    )
  })
