/**
 * The mark of an archived stream as a row, which a trigger may take away: at once, or where it is deferred, at the end of the step.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as LateTriggers from "./LateTriggers.js"
import { tablesFound } from "./PgSql.js"

/** The stream that has the mark. */
interface Marked {
  readonly tenantId: string
  readonly aggregateId: string
}

export const table = "kumiko_archived_streams"

/** The column that has a value where deferred triggers may still take rows of the table away, as it is named where a statement is sent. */
export const late = (name: string): string => LateTriggers.column(name, "'t'")

/** Notes marks that are to be looked for again at the end of the step, if the fiber is in one. */
export const noteLate = (name: string, streams: ReadonlyArray<Marked>): Effect.Effect<void> =>
  Effect.map(tablesFound, (found) => {
    const noted = Option.flatMapNullable(found, (claimed) => claimed.late)
    if (Option.isNone(noted) || streams.length === 0) return
    const rows = streams.map(({ aggregateId, tenantId }) => ({ tenant_id: tenantId, aggregate_id: aggregateId }))
    LateTriggers.note(noted.value, name, sameness, rows)
  })

const sameness: LateTriggers.Sameness = {
  columns: "tenant_id uuid, aggregate_id uuid",
  same: "s.tenant_id = k.tenant_id AND s.aggregate_id = k.aggregate_id"
}
