/**
 * A client of no database, for what must be built and is not to be used.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Layer from "effect/Layer"

/** Provides a client of no database: whatever is asked of it fails. */
export const layer: Layer.Layer<SqlClient.SqlClient> = Layer.effect(
  SqlClient.SqlClient,
  SqlClient.make({
    acquirer: new SqlError({ message: "No database", cause: new Error("there is no database here to ask") }),
    compiler: PgClient.makeCompiler(),
    spanAttributes: []
  })
).pipe(Layer.provide(Reactivity.layer))
