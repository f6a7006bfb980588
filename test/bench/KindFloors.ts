/**
 * What is below snapshots and replays: the same work by the driver, Schema and Effect alone, without runs, lanes, comparison or record.
 */
import { Effect, Either, Schema } from "effect"
import type { Client } from "pg"
import type { Side } from "./Rounds.js"

/** The payload of the events that are read. */
export const Payload = Schema.Struct({ amount: Schema.Int, customer: Schema.String, note: Schema.String })

/** The state that they are folded into. */
export const State = Schema.Struct({ amount: Schema.Int, customer: Schema.String })

interface Row {
  readonly id: string
  readonly tenant_id: string
  readonly aggregate_id: string
  readonly version: number
  readonly payload: unknown
}

const page = 10_000

const decode = Schema.decodeUnknownEither(Payload)
const encode = Schema.encodeEither(State)

const byStream = `SELECT * FROM kumiko_events WHERE aggregate_type = 'order' AND (aggregate_id, tenant_id, version) > ($1, $2, $3)
  ORDER BY aggregate_id, tenant_id, version LIMIT ${page}`

const store = `INSERT INTO es_ops_snapshots (tenant_id, aggregate_id, aggregate_type, snapshot_version, version, event_id, state)
  SELECT tenant_id, aggregate_id, 'order', 1, version, event_id, state
  FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::bigint[], $5::jsonb[]) AS g (tenant_id, aggregate_id, version, event_id, state)`

interface Open {
  last: Row
  state: typeof State.Type
}

/** Reads all streams in their order, decodes and folds them, and stores the state of each, a page at a time. */
export const snapshots = (bare: Client, streams: number): Side => ({
  prepare: () => bare.query("TRUNCATE es_ops_snapshots"),
  run: async () => {
    let open: Open | undefined
    let stored = 0
    const nil = "00000000-0000-0000-0000-000000000000"
    for (let after: readonly [string, string, number] = [nil, nil, 0], isLast = false; !isLast;) {
      const { rows } = await bare.query<Row>(byStream, [...after])
      const ended: Array<Open> = []
      for (const row of rows) {
        const { amount, customer } = Either.getOrThrow(decode(row.payload))
        if (open?.last.aggregate_id === row.aggregate_id) {
          open.state = { amount: open.state.amount + amount, customer }
          open.last = row
        } else {
          if (open !== undefined) ended.push(open)
          open = { last: row, state: { amount, customer } }
        }
      }
      isLast = rows.length < page
      if (isLast && open !== undefined) ended.push(open)
      const last = rows.at(-1)
      if (last !== undefined) after = [last.aggregate_id, last.tenant_id, last.version]
      stored += ended.length
      await bare.query(store, [
        ended.map(({ last }) => last.tenant_id),
        ended.map(({ last }) => last.aggregate_id),
        ended.map(({ last }) => last.version),
        ended.map(({ last }) => last.id),
        ended.map(({ state }) => JSON.stringify(Either.getOrThrow(encode(state))))
      ])
    }
    if (stored !== streams) throw new Error(`${stored} snapshots were stored`)
  }
})

const byId = `SELECT * FROM kumiko_events WHERE id > $1 ORDER BY id LIMIT ${page}`

/** Reads all events by id, decodes each, and runs an effect for it that does nothing; after each page it notes where it stands. */
export const deliveries = (bare: Client, count: number): Side => ({
  prepare: () =>
    bare.query("CREATE TABLE IF NOT EXISTS stands (at bigint); TRUNCATE stands; INSERT INTO stands VALUES (0)"),
  run: () =>
    Effect.runPromise(
      Effect.gen(function* () {
        let delivered = 0
        for (let after = "0", isLast = false; !isLast;) {
          const { rows } = yield* Effect.promise(() => bare.query<Row>(byId, [after]))
          yield* Effect.forEach(
            rows,
            ({ payload }) => Effect.flatMap(decode(payload), () => Effect.sync(() => void delivered++)),
            { discard: true }
          )
          isLast = rows.length < page
          after = rows.at(-1)?.id ?? after
          yield* Effect.promise(() => bare.query("UPDATE stands SET at = $1", [after]))
        }
        if (delivered !== count) throw new Error(`${delivered} events were delivered`)
      })
    )
})
