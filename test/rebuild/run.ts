/**
 * The long form of the rebuild suite: so many rounds on a PostgreSQL of its own.
 *
 * npm run test:rebuild -- [--rounds 500] [--seed <number>] [--kills 0.4]
 */
import { parseArgs } from "node:util"
import { Client } from "pg"
import * as TestServer from "../support/TestServer.js"
import * as Arenas from "./Arena.js"
import * as Tables from "./Tables.js"

const { values } = parseArgs({
  options: { rounds: { type: "string" }, seed: { type: "string" }, kills: { type: "string" } }
})
const rounds = Number(values.rounds ?? "500")
const seed = Number(values.seed ?? `${Date.now() % 1_000_000_000}`)
const kills = Number(values.kills ?? "0.4")

const server = await TestServer.start()
const { host, password, port, user } = server.address
const urlOf = (database: string) => `postgres://${user}:${password}@${host}:${port}/${database}`
const admin = new Client({ connectionString: urlOf("postgres") })
await admin.connect()
await admin.query("CREATE DATABASE arena")
await admin.end()
await Tables.create(urlOf("arena"))

const arena = await Arenas.open(urlOf("arena"), seed)
const pick = <A>(from: ReadonlyArray<A>, at: number): A => {
  const picked = from[at % from.length]
  if (picked === undefined) throw new Error("there is nothing to pick from")
  return picked
}
for (let n = 0; n < rounds; n++) {
  const isKilled = arena.next() < kills
  const projection = pick(Arenas.projections, n)
  // Functions are merged.
  const mode = projection === "hands" ? "merge" : pick(Arenas.modes, Math.floor(n / Arenas.projections.length))
  await Arenas.round(arena, projection, mode, isKilled ? 1 : 0)
  if (n % 10 === 9) console.log(`seed ${seed}: ${JSON.stringify(arena.tally)}`)
}
console.log(`seed ${seed}: ${JSON.stringify(arena.tally)}`)
await arena.client.end()
await server.stop()
process.exit(arena.tally.wrong + arena.tally.gaps === 0 ? 0 : 1)
