import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

export default Seed.make({
  description: "a letter for each tenant",
  run: Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE IF NOT EXISTS letters (tenant_id uuid PRIMARY KEY, text text NOT NULL)`
    for (const { id, name } of yield* SeedContext.findTenants) {
      yield* sql`INSERT INTO letters ${sql.insert({ tenant_id: id, text: `Welcome, ${name}.` })}`
    }
  })
})
