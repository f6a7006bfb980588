/**
 * Writes events and their rows, one transaction after another, until it is told to stop; then it says how long the longest took, in milliseconds.
 */
import { once } from "node:events"
import { argv, stdin } from "node:process"
import { Client } from "pg"
import * as Orders from "./Orders.mjs"

const [, , url = ""] = argv
const client = new Client({ connectionString: url })
await client.connect()
const { rows } = await client.query("SELECT id::text, customer FROM read_orders ORDER BY id LIMIT 1000")
const state = { isOver: false }
const told = once(stdin, "data").then(() => {
  state.isOver = true
})
console.log("writes")
let longest = 0
for (let n = 0; !state.isOver; n++) {
  const { customer, id } = rows[n % rows.length]
  const from = performance.now()
  await client.query("BEGIN")
  await client.query(
    `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
    SELECT $1::uuid, 'order', tenant_id, max(version) + 1, 'order.changed', $2::jsonb, '{"userId":"w"}', 'w' FROM kumiko_events
    WHERE aggregate_id = $1::uuid GROUP BY tenant_id`,
    [id, JSON.stringify({ amount: 1, customer, note: "n" })]
  )
  await client.query(Orders.upsert, [id, 1, customer])
  await client.query("COMMIT")
  longest = Math.max(longest, performance.now() - from)
}
await told
stdin.destroy()
await client.end()
console.log(longest)
