import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Seed } from "effect-es-ops"

const plans = [
  { id: "free", price: 0 },
  { id: "team", price: 900 }
]

export default Seed.make({
  description: "the price plans that there are at the beginning",
  run: Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE IF NOT EXISTS plans (id text PRIMARY KEY, price integer NOT NULL)`
    yield* sql`INSERT INTO plans ${sql.insert(plans)}`
  })
})
