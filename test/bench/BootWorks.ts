/**
 * What a boot costs: with nothing to do, with much to look at, with many to load, and among many others.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect } from "effect"
import { Operation, Seed, SeedRunner, SeedSource } from "effect-es-ops"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as SeedStates from "../../src/seed/plan/SeedStates.js"
import type { Side, Work } from "./Rounds.js"
import { measured } from "./Rounds.js"
import { createTables } from "./SeedWorks.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const trivial = `export default { description: "nothing", run: async () => {} }\n`

/** A folder of so many seeds. */
const seedFolder = (ids: ReadonlyArray<string>, text = trivial, extension = "mjs") =>
  Worlds.folder(Object.fromEntries(ids.map((id) => [`${id}.${extension}`, text])))

const markers = `CREATE TABLE kumiko_es_operations (id text PRIMARY KEY, operation_type text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(), duration_ms integer NOT NULL, applied_by text NOT NULL, notes text)`

/** An application that comes up and finds everything applied. */
const idle = (world: World, bundled: boolean) => async () => {
  const ids = Worlds.ids(10_000)
  const url = await world.database()
  const bare = await Worlds.connected(url)
  await bare.query(markers)
  await bare.query(
    "INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by) SELECT unnest($1::text[]), 'seed-migration', 1, 'boot'",
    [ids]
  )
  await bare.query("VACUUM ANALYZE kumiko_es_operations")
  await bare.end()
  const seeds = await seedFolder(ids)
  const pool = Effect.provide(Worlds.selectOne, Worlds.client(url))
  const nothing = Seed.make({ description: "nothing", run: Effect.void })
  const layer = Worlds.operations(url, bundled ? Object.fromEntries(ids.map((id) => [id, nothing])) : seeds.path)
  const boot = Worlds.quietly(Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), layer))
  return {
    floor: { run: () => Effect.runPromise(pool), repeat: 5 },
    ours: {
      run: async () => {
        const { outcomes } = await Effect.runPromise(boot)
        if (outcomes.length > 0) throw new Error("something was applied")
      },
      repeat: 5
    },
    url,
    folder: seeds.path,
    close: seeds.remove
  }
}

/** What is left without us: the pool, the very message that a boot sends and, at the same time, the listing of the folder. */
const idleWithoutUs = (world: World, bundled: boolean) => async () => {
  const booting = await idle(world, bundled)()
  const [asked] = (await Worlds.sent(booting.ours.run)).filter(([text]) => text.includes("kumiko_es_operations"))
  if (asked === undefined) throw new Error("a boot asked nothing")
  const question = Effect.flatMap(SqlClient, (sql) => sql.unsafe(asked[0]))
  const listing = Effect.promise(() => readdir(booting.folder, { withFileTypes: true }))
  const both = bundled ? question : Effect.all([question, listing], { concurrency: 2 })
  const opened = Effect.provide(Effect.zipRight(Worlds.selectOne, both), Worlds.client(booting.url))
  return { ...booting, ours: { run: () => Effect.runPromise(opened), repeat: 5 } }
}

/** Discovery and plan, as a boot has them after the peek; the floor is what the file system takes to list the folder. */
const plan = async () => {
  const ids = Worlds.ids(10_000)
  const seeds = await seedFolder(ids)
  const applied = new Map(ids.slice(0, 9_000).map((id) => [id, Operation.seedMigration]))
  const planned = Effect.gen(function* () {
    const source = yield* SeedSource.SeedSource
    const { entries } = yield* source.discover
    const { seeds } = SeedStates.make({
      seeds: entries,
      applied,
      lastAttempts: new Map(),
      skipped: () => false,
      late: "run"
    })
    if (seeds.filter(({ state }) => state === "pending").length !== 1_000) throw new Error("another plan")
  }).pipe(Effect.provide(SeedSource.layerDirectory(seeds.path)))
  return {
    floor: { run: () => readdir(seeds.path, { withFileTypes: true }), repeat: 5 },
    ours: { run: () => Effect.runPromise(planned), repeat: 5 },
    close: seeds.remove
  }
}

/** So many processes, let go at the same moment; the time until the last one is done. */
const together = (world: World, processes: number, program: string, args: ReadonlyArray<string>): Side => ({
  run: async () => {
    const url = await world.database()
    const children = Array.from({ length: processes }, () => Worlds.program(program, [url, ...args]))
    for (const { next } of children) await next()
    const from = performance.now()
    for (const { go } of children) go()
    for (const { next } of children) await next()
    const took = performance.now() - from
    for (const { ended } of children) await ended
    return measured(took)
  }
})

const crowdOf = (world: World, program: string) => async () => {
  const slow = `export default { description: "50 ms", run: () => new Promise((done) => setTimeout(done, 50)) }\n`
  const seeds = await seedFolder(Worlds.ids(20), slow)
  const url = await world.database()
  const [created] = (await Worlds.sent(() => createTables(url))).filter(([text]) => text.includes("CREATE TABLE"))
  if (created === undefined) throw new Error("no table was created")
  const ddl = await Worlds.folder({ "tables.sql": created[0] })
  return {
    floor: together(world, 1, "Replica.mjs", [seeds.path]),
    ours: together(world, 20, program, [seeds.path, join(ddl.path, "tables.sql")]),
    close: () => Promise.all([seeds.remove(), ddl.remove()])
  }
}

/** In a process of its own, as a module is loaded once; the time that it says. */
const said = (...args: ReadonlyArray<string>): Side => ({
  run: async () => {
    const child = Worlds.program("Loading.mjs", args)
    const milliseconds = Number(await child.next())
    await child.ended
    return measured(milliseconds)
  }
})

const typescript = `import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

const email: string = "admin@example.com"

export default Seed.make({
  description: "reads",
  skippable: true,
  run: Effect.gen(function* () {
    const user = yield* SeedContext.findUserByEmail(email)
    yield* Effect.log(user)
    yield* SeedContext.systemWriteAs("tenant:write:create", { key: "a", name: "b" })
  })
})
`

const loading = async () => {
  // Inside this folder the package is found by its own name.
  const path = join(fileURLToPath(new URL(".", import.meta.url)), `seeds-${process.pid}`)
  const seeds = await Worlds.filled(path, Object.fromEntries(Worlds.ids(100).map((id) => [`${id}.ts`, typescript])))
  return { floor: said("tsx", path), ours: said("ours", path), close: seeds.remove }
}

export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "idle-boot",
    work: "boot with 10,000 applied seeds, nothing to do",
    floor: "opening the pool and SELECT 1",
    target: 1.5,
    open: idle(world, false)
  },
  {
    name: "idle-boot-bundled",
    work: "the same, the seeds in a record as a bundled application has them",
    floor: "opening the pool and SELECT 1",
    target: 1.5,
    open: idle(world, true)
  },
  {
    name: "idle-boot-without-us",
    work: "opening the pool, SELECT 1, the question of such a boot and listing the folder",
    floor: "opening the pool and SELECT 1",
    open: idleWithoutUs(world, false)
  },
  {
    name: "idle-boot-bundled-without-us",
    work: "opening the pool, SELECT 1 and the question",
    floor: "opening the pool and SELECT 1",
    open: idleWithoutUs(world, true)
  },
  {
    name: "plan",
    work: "listing and planning 10,000 files with 9,000 markers",
    floor: "readdir of the folder",
    target: 2,
    open: plan
  },
  {
    name: "crowd",
    work: "20 processes at once, 20 seeds of 50 ms, empty database",
    floor: "one process alone",
    target: 1.3,
    // One interval of the poll.
    allowance: 500,
    open: crowdOf(world, "Replica.mjs")
  },
  {
    name: "crowd-effect",
    work: "the same by an Effect program, without us",
    floor: "one process of ours alone",
    open: crowdOf(world, "ReplicaByHand.mjs")
  },
  {
    name: "loading",
    work: "loading and checking 100 pending TypeScript seeds",
    floor: "importing the same files with tsx",
    target: 1.2,
    open: loading
  }
]
