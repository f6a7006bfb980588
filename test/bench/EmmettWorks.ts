/**
 * The rebuild of emmett-postgresql, of the same events in tables of its own.
 */
import {
  defaultTag,
  getPostgreSQLEventStore,
  pongoSingleStreamProjection,
  rebuildPostgreSQLProjections
} from "@event-driven-io/emmett-postgresql"
import type { Event } from "@event-driven-io/emmett"
import type { Client } from "pg"
import * as Worlds from "./World.js"

type Changed = Event<"order.changed", { readonly amount: number; readonly customer: string; readonly note: string }>

type Order = { readonly amount: number; readonly customer: string }

const projection = pongoSingleStreamProjection<Order, Changed>({
  collectionName: "orders",
  canHandle: ["order.changed"],
  initialState: () => ({ amount: 0, customer: "" }),
  evolve: ({ amount }: Order, { data }: Changed) => ({ amount: amount + data.amount, customer: data.customer })
})

/** Fills a database with the first `count` events of another, and rebuilds there. */
export const open = async (url: string, from: Client, count: number) => {
  const store = getPostgreSQLEventStore(url)
  await store.schema.migrate()
  const bare = await Worlds.connected(url)
  const { rows } = await from.query<{ aggregate_id: string; version: number; payload: unknown }>(
    "SELECT aggregate_id, version, payload FROM kumiko_events ORDER BY aggregate_id, version LIMIT $1",
    [count]
  )
  await bare.query(
    `INSERT INTO emt_messages (stream_id, stream_position, partition, transaction_id, message_kind, message_schema_version, message_id, message_type, message_data, message_metadata)
    SELECT aggregate_id, version, $2, pg_current_xact_id(), 'E', '1', gen_random_uuid(), 'order.changed', payload, '{}'
    FROM jsonb_to_recordset($1::jsonb) AS g (aggregate_id text, version bigint, payload jsonb)`,
    [JSON.stringify(rows), defaultTag]
  )
  await bare.query("ANALYZE")
  /** It reads nothing that is not older than every open transaction, autovacuum's too, and ends then. */
  const visible = async () => {
    for (;;) {
      const { rows: hidden } = await bare.query(
        "SELECT FROM emt_messages WHERE transaction_id >= pg_snapshot_xmin(pg_current_snapshot()) LIMIT 1"
      )
      if (hidden.length === 0) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  return {
    /** It goes on from the checkpoint of the rebuild before, with the table emptied: the second would find nothing. */
    prepare: async () => {
      await bare.query("TRUNCATE emt_processors")
      await visible()
    },
    rebuild: async () => {
      const consumer = rebuildPostgreSQLProjections<Changed>({ projections: [projection], connectionString: url })
      await consumer.start()
      await consumer.close()
      const { rows } = await bare.query<{ n: number }>("SELECT count(*)::int AS n FROM orders")
      if (rows[0]?.n === 0) throw new Error("nothing was rebuilt")
    },
    close: () => Promise.all([store.close(), bare.end()])
  }
}
