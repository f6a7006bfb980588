/**
 * The events of a rebuild: in pages as the bulk reads them, without the streams that were archived when it began; and those above an id, without
 * the streams that are archived now.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Event, StreamId } from "../../event/Event.js"
import { describe } from "../../operation/ErrorDescription.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import { columns, toEvent } from "../feed/FeedRow.js"
import type { Shadow } from "./Shadow.js"

/** Ids of events: behind one and up to another. */
interface Range {
  readonly after: bigint
  readonly upTo: bigint
}

/** Events by id. */
export const page = (
  shadow: Shadow,
  range: Range,
  limit: number
): Effect.Effect<ReadonlyArray<Event>, DatabaseError, PgSql> => Effect.flatMap(rowsOf(shadow, range, limit), eventsOf)

/** The rows of them; `beside` is done in the same message. */
export const rowsOf = (
  shadow: Shadow,
  { after, upTo }: Range,
  limit: number,
  beside?: Statement
): Effect.Effect<ReadonlyArray<unknown>, DatabaseError, PgSql> =>
  read(
    `e.id > ${after} AND e.id <= ${upTo} AND ${ofTypes(shadow)} AND ${notIn(shadow.archived)} ORDER BY e.id LIMIT ${limit}`,
    [],
    beside
  )

/** A statement that answers with nothing. */
export interface Statement {
  readonly text: string
  readonly params: ReadonlyArray<string>
}

/** Part of the aggregates, by their ids: those at or above `from`, and below `to`. */
export interface Lane {
  readonly name: string
  readonly from: string | undefined
  readonly to: string | undefined
}

/** A place in the order of aggregates and versions. */
export interface Place {
  readonly aggregateId: string
  readonly version: number
}

/** The rows of events up to an id, by aggregate and version, behind a place; `beside` is done in the same message. */
export const rowsByAggregate = (
  shadow: Shadow,
  lane: Lane,
  upTo: bigint,
  after: Place | undefined,
  limit: number,
  beside?: Statement
): Effect.Effect<ReadonlyArray<unknown>, DatabaseError, PgSql> => {
  const conditions = [
    ...(after === undefined
      ? lane.from === undefined
        ? []
        : [`e.aggregate_id >= ${literal(lane.from)}::uuid`]
      : [`(e.aggregate_id, e.version) > (${literal(after.aggregateId)}::uuid, ${after.version})`]),
    ...(lane.to === undefined ? [] : [`e.aggregate_id < ${literal(lane.to)}::uuid`])
  ]
  return read(
    `${[...conditions, `e.id <= ${upTo}`, ofTypes(shadow), notIn(shadow.archived)].join(" AND ")}
      ORDER BY e.aggregate_id, e.version LIMIT ${limit}`,
    [],
    beside
  )
}

/** Which streams count as archived: those that the shadow knows of, or those that are now. */
export type Archived = "known" | "now"

/** All events above an id that can be seen, by id; of some aggregates only, where they are given. */
export const above = (
  shadow: Shadow,
  id: bigint,
  archived: Archived,
  aggregateIds?: NonEmptyReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Event>, DatabaseError, PgSql> =>
  select(
    `e.id > ${id} AND ${ofTypes(shadow)} AND ${notIn(archivedOf(shadow, archived))}${aggregateIds === undefined ? "" : ` AND ${ofAggregates}`} ORDER BY e.id`,
    aggregateIds === undefined ? [] : [JSON.stringify(aggregateIds)]
  )

/** All events of aggregates that can be seen, by aggregate and version; up to an id, where one is given. */
export const ofAll = (
  shadow: Shadow,
  aggregateIds: NonEmptyReadonlyArray<string>,
  archived: Archived,
  upTo?: bigint
): Effect.Effect<ReadonlyArray<Event>, DatabaseError, PgSql> =>
  select(
    `${ofAggregates} AND ${ofTypes(shadow)} AND ${notIn(archivedOf(shadow, archived))}${upTo === undefined ? "" : ` AND e.id <= ${upTo}`}
      ORDER BY e.aggregate_id, e.version`,
    [JSON.stringify(aggregateIds)]
  )

/** Makes the archived streams that the shadow knows of those that are archived now; answers with those that changed sides. Inside a batch. */
export const syncArchived = (shadow: Shadow): Effect.Effect<ReadonlyArray<StreamId>, DatabaseError, PgSql> =>
  Effect.tap(changedSides(shadow), (changed) => {
    if (changed.length === 0) return Effect.void
    const streams = `jsonb_to_recordset($1::jsonb) AS g ("aggregateId" uuid, "tenantId" uuid)`
    // Each is on the other side now than the shadow has it.
    return Effect.flatMap(PgSql, (sql) =>
      sql
        .unsafe(
          `WITH given AS (SELECT g."aggregateId" AS aggregate_id, g."tenantId" AS tenant_id FROM ${streams}),
            gone AS (DELETE FROM ${shadow.archived} a USING given g WHERE (a.aggregate_id, a.tenant_id) = (g.aggregate_id, g.tenant_id)
              RETURNING a.aggregate_id, a.tenant_id)
          INSERT INTO ${shadow.archived} SELECT * FROM given EXCEPT SELECT * FROM gone`,
          [JSON.stringify(changed)]
        )
        .pipe(Effect.mapError(databaseError("noting which streams are archived")))
    )
  })

/** The streams that were archived or restored since the bulk began. */
export const changedSides = (shadow: Shadow): Effect.Effect<ReadonlyArray<StreamId>, DatabaseError, PgSql> =>
  shadow.target.archived === "keep"
    ? Effect.succeed([])
    : Effect.flatMap(PgSql, (sql) =>
        sql
          .unsafe(
            `SELECT tenant_id::text, aggregate_id::text FROM (SELECT DISTINCT aggregate_id, tenant_id, true AS is FROM kumiko_archived_streams) AS n
              FULL JOIN (SELECT aggregate_id, tenant_id, true AS was FROM ${shadow.archived}) AS t USING (aggregate_id, tenant_id)
            WHERE n.is IS NULL OR t.was IS NULL`
          )
          .pipe(
            rows("looking for streams that were archived meanwhile", StreamRow),
            Effect.map((found) =>
              found.map(({ aggregate_id, tenant_id }) => ({ tenantId: tenant_id, aggregateId: aggregate_id }))
            )
          )
      )

/** How many events there are of its types. */
export const count = (types: ReadonlyArray<string>): Effect.Effect<number, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(`SELECT count(*)::text AS count FROM kumiko_events e WHERE ${typeIn(types)}`)
      .pipe(rows("counting events", Schema.Struct({ count: Schema.NumberFromString })))
  ).pipe(Effect.map(([found]) => found?.count ?? 0))

const StreamRow = Schema.Struct({ tenant_id: Schema.String, aggregate_id: Schema.String })

const select = (
  where: string,
  params: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Event>, DatabaseError, PgSql> => Effect.flatMap(read(where, params), eventsOf)

const read = (
  where: string,
  params: ReadonlyArray<unknown>,
  beside?: Statement
): Effect.Effect<ReadonlyArray<unknown>, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) => {
    const text = `SELECT ${columns} FROM kumiko_events e WHERE ${where}`
    return beside === undefined
      ? Effect.mapError(sql.unsafe(text, params).values, databaseError(reading))
      : Effect.mapError(
          sql.unsafe(`WITH es_ops_written AS (${beside.text}) ${text}`, beside.params).values,
          databaseError(`${reading}, and writing rows of the shadow`)
        )
  })

/** The events of rows. */
export const eventsOf = (found: ReadonlyArray<unknown>): Effect.Effect<ReadonlyArray<Event>, DatabaseError> =>
  Effect.try({
    try: () => found.map(toEvent),
    catch: (cause) => DatabaseError.because(reading, describe(cause).message, { cause })
  })

const reading = "reading events"

export const typeIn = (types: ReadonlyArray<string>): string => `e.type IN (${types.map(literal).join(", ")})`

const ofTypes = ({ target }: Shadow): string => typeIn(target.events)

const ofAggregates = "e.aggregate_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::uuid))"

const notIn = (archived: string): string =>
  `NOT EXISTS (SELECT FROM ${archived} a WHERE a.tenant_id = e.tenant_id AND a.aggregate_id = e.aggregate_id)`

/** None are where the projection keeps the rows of archived streams: the shadow knows of none then. */
const archivedOf = ({ archived, target }: Shadow, which: Archived): string =>
  which === "known" || target.archived === "keep" ? archived : "kumiko_archived_streams"
