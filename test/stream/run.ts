/**
 * The long form of the suite of moves: so many moves by processes of which so many are killed, under writers of both tenants, on a PostgreSQL of its own.
 *
 * npm run test:moves -- [--moves 1000] [--kills 50] [--seed <number>]
 */
import assert from "node:assert/strict"
import { parseArgs } from "node:util"
import { Client } from "pg"
import { random } from "../rebuild/Arena.js"
import * as Bundle from "../support/Bundle.js"
import * as Projects from "../support/Project.js"
import * as TestServer from "../support/TestServer.js"
import * as Storms from "./Moves.js"

const { values } = parseArgs({
  options: { moves: { type: "string" }, kills: { type: "string" }, seed: { type: "string" } }
})
const kills = Number(values.kills ?? "50")
const streams = Math.max(1, Math.ceil(Number(values.moves ?? "1000") / kills))
const seed = Number(values.seed ?? `${Date.now() % 1_000_000_000}`)
const next = random(seed)

const bundle = await Bundle.make()
const server = await TestServer.start()
const { host, password, port, user } = server.address
const urlOf = (database: string) => `postgres://${user}:${password}@${host}:${port}/${database}`
const project = await Projects.make({}, "project", bundle.folder)
try {
  const admin = new Client({ connectionString: urlOf("postgres") })
  await admin.connect()
  await admin.query("CREATE DATABASE moves")
  await admin.end()
  const moves = await Storms.open(urlOf("moves"), project, streams)
  let [killed, rounds] = [0, 0]
  // How long a process takes until it is through, which is when it is killed at the latest.
  let through = 1500
  for (; killed < kills; rounds++) {
    const points = [...Object.values(Storms.points), through * next(), through * next()]
    const since = Date.now()
    const isKilled = await Storms.round(moves, rounds % 2 === 1, points[Math.floor(next() * 4)] ?? through)
    if (isKilled) killed++
    else through = Math.min(through, Date.now() - since)
  }
  const acknowledged = await moves.stop()
  const before = await Storms.newest(moves)
  const digest = await Storms.digest(moves, before)
  await Storms.round(moves, rounds % 2 === 1, through * next())
  assert.deepEqual(await Storms.digest(moves, before), digest, "an event is not as it was")
  const tenant = moves.tenants[rounds % 2 === 1 ? 0 : 1]
  const found = await Storms.look(moves, tenant, acknowledged)
  console.log(`seed ${seed}: ${(rounds + 1) * streams} moves, ${killed} processes killed, ${JSON.stringify(found)}`)
  await moves.client.end()
} finally {
  await server.stop()
  await project.remove()
  await bundle.remove()
}
