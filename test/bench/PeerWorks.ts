/**
 * Beside tools that one might use instead: umzug with a transaction a migration and its record in a table, and the Migrator of Effect SQL,
 * which runs all in one transaction. Each is up, with its pool open, and has a folder of 100 files that insert one row.
 */
import { NodeContext } from "@effect/platform-node"
import * as PgMigrator from "@effect/sql-pg/PgMigrator"
import { SqlClient, TransactionConnection } from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { Config, Effect, Fiber, Layer, ManagedRuntime } from "effect"
import { SeedRunner } from "effect-es-ops"
import { createHash } from "node:crypto"
import { readdir, readFile } from "node:fs/promises"
import { basename, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseSync } from "oxc-parser"
import type { Client } from "pg"
import { Umzug } from "umzug"
import type { Message } from "./ProtocolWorks.js"
import { aStep, cut, spanned, told } from "./ProtocolWorks.js"
import type { Side, Work } from "./Rounds.js"
import { createTables, effectByHand } from "./SeedWorks.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const count = 100

/** Inside this folder the packages that the files import are found. */
const here = fileURLToPath(new URL(".", import.meta.url))

interface Peer {
  readonly up: () => Promise<unknown>
  readonly forget: string
  readonly close: () => Promise<unknown>
}

type Open = (url: string) => Promise<Peer>

const insert = "INSERT INTO bench (n) VALUES (1)"

/** Ours, with the folder of its seeds. */
const ours = async (url: string): Promise<Peer & { readonly folder: string }> => {
  const seed = `import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Seed } from "effect-es-ops"
export default Seed.make({
  description: "one insert",
  run: Effect.flatMap(SqlClient.SqlClient, (sql) => sql\`${insert}\`)
})
`
  const seeds = await Worlds.filled(
    join(here, `ours-${process.pid}`),
    Object.fromEntries(Worlds.ids(count).map((id) => [`${id}.mjs`, seed]))
  )
  const app = Worlds.application(url, seeds.path)
  return {
    up: () => app.runPromise(SeedRunner.apply({ appliedBy: "boot" })),
    folder: seeds.path,
    forget: "TRUNCATE kumiko_es_operations, es_ops_attempts",
    close: () => Promise.all([app.dispose(), seeds.remove()])
  }
}

/** A file whose default export is the Effect of its one insert. */
const effectFile = `import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
export default Effect.flatMap(SqlClient.SqlClient, (sql) => sql\`${insert}\`)
`

/** The least that an Effect program does for the same: it lists, asks, imports what is new, and runs each in the transaction of its marker. */
const asEffect = async (url: string): Promise<Peer> => {
  const files = await Worlds.filled(
    join(here, `effect-${process.pid}`),
    Object.fromEntries(Worlds.ids(count).map((id) => [`${id}.mjs`, effectFile]))
  )
  await createTables(url)
  const app = ManagedRuntime.make(Layer.merge(Worlds.client(url), Worlds.quiet))
  const run = Effect.gen(function* () {
    const sql = yield* SqlClient
    const [names, applied] = yield* Effect.all(
      [Effect.promise(() => readdir(files.path)), sql<{ id: string }>`SELECT id FROM kumiko_es_operations`],
      { concurrency: 2 }
    )
    const done = new Set(applied.map(({ id }) => id))
    for (const name of names.sort()) {
      const id = basename(name, ".mjs")
      if (done.has(id)) continue
      const { default: body } = yield* Effect.promise<{ default: Effect.Effect<unknown, unknown, SqlClient> }>(
        () => import(pathToFileURL(join(files.path, name)).href)
      )
      yield* effectByHand(sql, id, body)
    }
  })
  return {
    up: () => app.runPromise(run),
    forget: "TRUNCATE kumiko_es_operations, es_ops_attempts",
    close: () => Promise.all([app.dispose(), files.remove()])
  }
}

/**
 * What a boot of ours asks and lists when everything is applied, as an Effect program: it reads a flag, lists the folder beside the question, which
 * can be left at once, and has the spans that are promised.
 */
const asAsked = async (url: string): Promise<Peer> => {
  const applied = await ours(url)
  await applied.up()
  const [asked] = (await Worlds.sent(applied.up)).filter(([text]) => text.includes("kumiko_es_operations"))
  if (asked === undefined) throw new Error("a boot asked nothing")
  const [text, params] = asked
  const app = ManagedRuntime.make(Layer.merge(Worlds.client(url), Worlds.quiet))
  const question = Effect.flatMap(SqlClient, ({ reserve }) =>
    Effect.scoped(
      Effect.flatMap(reserve, (connection) => Effect.disconnect(connection.execute(text, params, undefined)))
    )
  )
  const run = Effect.gen(function* () {
    yield* Config.option(Config.string("BENCH_SKIP"))
    const asking = yield* Effect.fork(question.pipe(spanned("statement"), spanned("applied")))
    const files = yield* Effect.promise(() => readdir(applied.folder, { withFileTypes: true }))
    return [files, yield* Fiber.join(asking)]
  }).pipe(spanned("apply"))
  return {
    up: () => app.runPromise(run),
    forget: applied.forget,
    close: () => Promise.all([app.dispose(), applied.close()])
  }
}

/**
 * What a boot of ours does for seeds that are promised all of it, as an Effect program: the questions and the listing, then for each file its source
 * read, parsed and hashed, its module imported, and the messages of ours, with what is around them. Its body is an Effect of its own, whose statement
 * goes over the connection of the step and can be left; how it ended is looked at before the step is.
 */
const asPromised = async (url: string): Promise<Peer> => {
  const applied = await ours(url)
  await applied.up()
  const bare = await Worlds.connected(url)
  const afresh = `TRUNCATE bench; ${applied.forget}`
  await bare.query(afresh)
  const messages = await Worlds.sent(applied.up)
  await bare.query(afresh)
  await bare.end()
  const first = messages.findIndex(([text]) => aStep.test(text))
  const steps = cut(messages.slice(first), aStep)
  const files = await Worlds.filled(
    join(here, `effect-${process.pid}`),
    Object.fromEntries(Worlds.ids(count).map((id) => [`${id}.mjs`, effectFile]))
  )
  const app = ManagedRuntime.make(Layer.merge(Worlds.client(url), Worlds.quiet))
  const send = (connection: Connection, [text, params]: Message) =>
    Effect.disconnect(connection.executeRaw(text, params))
  const run = Effect.gen(function* () {
    const { reserve } = yield* SqlClient
    const lent = <A, E, R>(use: (connection: Connection) => Effect.Effect<A, E, R>) =>
      Effect.scoped(Effect.flatMap(reserve, use))
    const asking = yield* Effect.fork(
      Effect.forEach(messages.slice(0, first), (message) => lent((connection) => send(connection, message)))
    )
    const names = yield* Effect.promise(() => readdir(files.path))
    yield* Fiber.join(asking)
    const loaded = yield* Effect.forEach(names.sort(), (name) =>
      Effect.promise(async () => {
        const path = join(files.path, name)
        const source = await readFile(path, "utf8")
        const { default: body }: { default: Effect.Effect<unknown, unknown, SqlClient> } = await import(
          pathToFileURL(path).href
        )
        return { name, path, source, body }
      })
    )
    for (const [n, { body, name, path, source }] of loaded.entries()) {
      const [claim, , end] = steps[n] ?? []
      if (claim === undefined || end === undefined) throw new Error("a step has other messages")
      const { program } = parseSync(path, source)
      createHash("sha256").update(JSON.stringify(program)).digest("hex")
      yield* lent((connection) => {
        const own: Connection = {
          ...connection,
          execute: (text, params, transform) => Effect.disconnect(connection.execute(text, params, transform))
        }
        return Effect.uninterruptibleMask((restore) =>
          Effect.zipRight(
            Effect.zipRight(
              restore(send(connection, claim)),
              Effect.flatten(Effect.exit(restore(Effect.provideService(body, TransactionConnection, [own, 0]))))
            ),
            send(connection, end)
          )
        )
      }).pipe(told(name))
    }
  }).pipe(spanned("apply"))
  return {
    up: () => app.runPromise(run),
    forget: applied.forget,
    close: () => Promise.all([app.dispose(), applied.close(), files.remove()])
  }
}

/** Its record of what was run, in a table. */
const storage = (client: Client) => ({
  executed: async () => {
    const { rows } = await client.query<{ name: string }>("SELECT name FROM umzug ORDER BY name")
    return rows.map(({ name }) => name)
  },
  logMigration: async ({ name }: { readonly name: string }) =>
    void (await client.query("INSERT INTO umzug (name) VALUES ($1)", [name])),
  unlogMigration: async ({ name }: { readonly name: string }) =>
    void (await client.query("DELETE FROM umzug WHERE name = $1", [name]))
})

const umzug = async (url: string): Promise<Peer> => {
  const client = await Worlds.connected(url)
  await client.query("CREATE TABLE umzug (name text PRIMARY KEY)")
  const migrations = await Worlds.filled(
    join(here, `umzug-${process.pid}`),
    Object.fromEntries(
      Worlds.ids(count).map((id) => [`${id}.mjs`, `export const up = ({ context }) => context.query("${insert}")\n`])
    )
  )
  const tool = new Umzug({
    migrations: {
      glob: ["*.mjs", { cwd: migrations.path }],
      resolve: ({ context, name, path = "" }) => ({
        name,
        up: async () => {
          const { up } = await import(pathToFileURL(path).href)
          await context.query("BEGIN")
          await up({ context })
          await context.query("COMMIT")
        }
      })
    },
    context: client,
    storage: storage(client),
    logger: undefined
  })
  return {
    up: () => tool.up(),
    forget: "TRUNCATE umzug",
    close: () => Promise.all([client.end(), migrations.remove()])
  }
}

const migrator = async (url: string): Promise<Peer> => {
  const migrations = await Worlds.filled(
    join(here, `migrator-${process.pid}`),
    Object.fromEntries(Worlds.ids(count).map((_, n) => [`${`${n + 1}`.padStart(4, "0")}_one.js`, effectFile]))
  )
  const app = ManagedRuntime.make(
    Layer.merge(Worlds.client(url), NodeContext.layer).pipe(Layer.provideMerge(Worlds.quiet))
  )
  return {
    up: () => app.runPromise(PgMigrator.run({ loader: PgMigrator.fromFileSystem(migrations.path) })),
    forget: "TRUNCATE effect_sql_migrations",
    close: () => Promise.all([app.dispose(), migrations.remove()])
  }
}

/** A tool that has run everything once, hence has its tables and its modules loaded. */
const compared =
  (world: World, peer: Open, idle: boolean, our: Open = ours) =>
  async () => {
    const url = await world.database()
    const bare = await Worlds.connected(url)
    await bare.query("CREATE TABLE bench (n integer)")
    const side = async (open: Open) => {
      const tool = await open(url)
      await tool.up()
      const run: Side = {
        run: async () => {
          await tool.up()
          if (idle) return
          const { rows } = await bare.query<{ n: number }>("SELECT count(*)::int AS n FROM bench")
          if (rows[0]?.n !== count) throw new Error(`there are ${rows[0]?.n} rows`)
        },
        prepare: () => bare.query(idle ? "SELECT 1" : `TRUNCATE bench; ${tool.forget}`),
        repeat: idle ? 100 : 1
      }
      return { run, close: tool.close }
    }
    const [floor, other] = [await side(peer), await side(our)]
    return {
      floor: floor.run,
      ours: other.run,
      close: async () => {
        await floor.close()
        await other.close()
        await bare.end()
      }
    }
  }

const promised =
  "the messages, sources and modules of ours, with its spans, metrics and log lines, as an Effect program"

export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "umzug-idle",
    work: "100 entries, all applied",
    floor: "umzug",
    target: 1,
    open: compared(world, umzug, true)
  },
  {
    name: "umzug-full",
    work: "100 entries of one insert each",
    floor: "umzug, a transaction each",
    target: 1.3,
    open: compared(world, umzug, false)
  },
  {
    name: "umzug-idle-effect",
    work: "the same as an Effect program, without us",
    floor: "umzug",
    open: compared(world, umzug, true, asEffect)
  },
  {
    name: "umzug-full-effect",
    work: "the same as an Effect program, without us",
    floor: "umzug, a transaction each",
    open: compared(world, umzug, false, asEffect)
  },
  {
    name: "umzug-idle-messages-effect",
    work: "the question and the listing of ours with its flag and spans, as an Effect program",
    floor: "umzug",
    open: compared(world, umzug, true, asAsked)
  },
  {
    name: "umzug-full-messages-effect",
    work: promised,
    floor: "umzug, a transaction each",
    open: compared(world, umzug, false, asPromised)
  },
  {
    name: "migrator-idle",
    work: "100 entries, all applied",
    floor: "Migrator of Effect SQL",
    target: 1,
    open: compared(world, migrator, true)
  },
  {
    name: "migrator-full",
    work: "100 entries of one insert each",
    floor: "Migrator of Effect SQL, one transaction for all",
    open: compared(world, migrator, false)
  },
  {
    name: "migrator-full-messages-effect",
    work: promised,
    floor: "Migrator of Effect SQL, one transaction for all",
    open: compared(world, migrator, false, asPromised)
  }
]
