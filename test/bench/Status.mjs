/**
 * What `seed:status` is promised to look at, as a command of an Effect program without us: its messages, and each source of the folder read, parsed
 * and hashed. It is bundled as the command is.
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import process from "node:process"

const ask = Effect.gen(function* () {
  const { reserve } = yield* SqlClient
  const messages = yield* Effect.promise(async () => JSON.parse(await readFile("messages.json", "utf8")))
  return yield* Effect.forEach(messages, ([text, params]) =>
    Effect.scoped(
      Effect.flatMap(reserve, (connection) => Effect.disconnect(connection.execute(text, params, undefined)))
    )
  )
})

const hashes = Effect.promise(async () => {
  const { parseSync } = await import("oxc-parser")
  const names = (await readdir("seeds")).sort()
  const hashed = names.map(async (name) => {
    const path = join("seeds", name)
    const { program } = parseSync(path, await readFile(path, "utf8"))
    return [name, createHash("sha256").update(JSON.stringify(program)).digest("hex")]
  })
  return Promise.all(hashed)
})

const status = Command.make("seed:status", { json: Options.boolean("json") }, ({ json }) =>
  Effect.gen(function* () {
    const answers = yield* ask
    const found = yield* hashes
    yield* json
      ? Console.log(JSON.stringify({ answers, found }))
      : Effect.forEach(found, ([name, hash]) => Console.log(`${name} ${hash}`), { discard: true })
  }).pipe(Effect.withSpan("status"))
)

const command = Command.run(Command.make("program").pipe(Command.withSubcommands([status])), {
  name: "program",
  version: "1.0.0"
})

command(process.argv).pipe(
  Effect.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })),
  Effect.provide(NodeContext.layer),
  NodeRuntime.runMain
)
