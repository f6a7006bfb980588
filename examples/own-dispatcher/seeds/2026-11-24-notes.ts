import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Seed } from "effect-es-ops"

export default Seed.make({
  description: "the table of notes",
  run: Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE notes (id text PRIMARY KEY, text text NOT NULL, author text NOT NULL)`
  })
})
