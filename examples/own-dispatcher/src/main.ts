import { NodeRuntime } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Config, Console, Effect, Layer } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"
import { dispatcher } from "./dispatcher.js"

const program = Effect.gen(function* () {
  yield* SeedRunner.apply({ appliedBy: "boot" })
  const sql = yield* SqlClient.SqlClient
  for (const { id, text } of yield* sql`SELECT id, text FROM notes ORDER BY id`) yield* Console.log(`${id}: ${text}`)
})

const PgLive = PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })

const Main = EsOps.layer({ seeds: "./seeds", dispatcher }).pipe(Layer.provideMerge(PgLive))

NodeRuntime.runMain(Effect.provide(program, Main))
