/**
 * The long form of the rebuild suite: so many rounds on a PostgreSQL of its own.
 *
 * npm run test:rebuild -- [--rounds 500] [--seed <number>] [--kills 0.4] [--fresh 20]
 *
 * Each round reads all events again, so that after `--fresh` rounds they go on in a new database.
 */
import { parseArgs } from "node:util"
import { Client } from "pg"
import * as TestServer from "../support/TestServer.js"
import * as Arenas from "./Arena.js"
import * as Tables from "./Tables.js"

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    seed: { type: "string" },
    kills: { type: "string" },
    fresh: { type: "string" }
  }
})
const rounds = Number(values.rounds ?? "500")
const seed = Number(values.seed ?? `${Date.now() % 1_000_000_000}`)
const kills = Number(values.kills ?? "0.4")
const fresh = Number(values.fresh ?? "20")

const server = await TestServer.start()
const { host, password, port, user } = server.address
const urlOf = (database: string) => `postgres://${user}:${password}@${host}:${port}/${database}`
const next = Arenas.random(seed)
const tally = Arenas.nothing()

/** An arena in a database of its own. */
const open = async (name: string) => {
  const admin = new Client({ connectionString: urlOf("postgres") })
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  await admin.end()
  await Tables.create(urlOf(name))
  return Arenas.open(urlOf(name), Math.floor(next() * 1e9), tally)
}

const pick = <A>(from: ReadonlyArray<A>, at: number): A => {
  const picked = from[at % from.length]
  if (picked === undefined) throw new Error("there is nothing to pick from")
  return picked
}
let arena = await open("arena_0")
for (let n = 0; n < rounds; n++) {
  if (n > 0 && n % fresh === 0) {
    await arena.client.end()
    arena = await open(`arena_${n}`)
  }
  const isKilled = next() < kills
  const projection = pick(Arenas.projections, n)
  // Functions are merged.
  const mode = projection === "hands" ? "merge" : pick(Arenas.modes, Math.floor(n / Arenas.projections.length))
  await Arenas.round(arena, projection, mode, isKilled ? 1 : 0)
  if (n % 10 === 9) console.log(`seed ${seed}: ${JSON.stringify(tally)}`)
}
console.log(`seed ${seed}: ${JSON.stringify(tally)}`)
await arena.client.end()
await server.stop()
process.exit(tally.wrong + tally.gaps === 0 ? 0 : 1)
