/**
 * How many events the server looks at for a page, on a table that is large enough for the planner to choose.
 */
import { assert, describe, it } from "@effect/vitest"
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Option } from "effect"
import { EventFeed } from "effect-es-ops"
import { fresh, layerOf } from "../../support/Applying.js"
import * as Reference from "../../support/Reference.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const tenantId = "00000000-0000-4000-8000-000000000001"

const streams = 4000

const idOf = (n: number) => `${n.toString(16).padStart(8, "0")}-0000-7000-8000-000000000000`

const filled = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
  SELECT (lpad(to_hex(s), 8, '0') || '-0000-7000-8000-000000000000')::uuid, 'order', '${tenantId}', v, 'came', '{}', '{"userId": "u"}', 'u'
  FROM generate_series(1, ${streams}) s, generate_series(1, 10) v`

/** How many events this session has fetched from the table; before it is reported, which a transaction is not. */
const fetched = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(
    sql<{
      count: number
    }>`SELECT idx_tup_fetch::int AS count FROM pg_stat_xact_user_tables WHERE relname = 'kumiko_events'`,
    ([found]) => found?.count ?? 0
  )
)

interface Lane {
  readonly from?: Option.Option<string>
  readonly to?: Option.Option<string>
}

/** A page of 200 behind the end of a stream, and how many events were fetched for it. */
const pageBehind = (stream: number, range: Lane) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const feed = yield* EventFeed.EventFeed
    return yield* sql.withTransaction(
      Effect.gen(function* () {
        const before = yield* fetched
        const after = Option.some({ aggregateId: idOf(stream), tenantId, version: 10 })
        const events = yield* feed.pageByStream(
          { aggregateTypes: ["order"] },
          { from: Option.none(), to: Option.none(), ...range, after },
          200
        )
        return { first: events[0]?.aggregateId, events: events.length, fetched: (yield* fetched) - before }
      })
    )
  })

describe("a page of streams near the end of a large table", () => {
  it.live("is read from its place on, whatever is behind it: the last lane, and one that ends before", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      for (const text of [Reference.tables, filled, "ANALYZE kumiko_events"]) yield* Effect.promise(() => query(text))
      const stream = streams * 0.97
      const first = idOf(stream + 1)
      const ranges = [{}, { from: Option.some(idOf(streams / 2)) }, { to: Option.some(idOf(streams - 10)) }]
      const pages = yield* Effect.forEach(ranges, (range) => pageBehind(stream, range)).pipe(
        Effect.provide(layerOf(Database.clientOf(url), {}))
      )
      for (const page of pages) {
        assert.deepInclude(page, { first, events: 200 })
        // Of the stream that it stands behind, too, and the first of the one that follows.
        assert.isAtMost(page.fetched, 250)
      }
    }).pipe(fresh)
  )
})
