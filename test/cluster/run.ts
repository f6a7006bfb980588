/**
 * The long form of the cluster suite: so many rounds on a PostgreSQL of its own, in each of which a runner is killed and another one joins late; in
 * every fourth the first runner loses the database for 20 seconds.
 *
 * npm run test:cluster -- [--rounds 20] [--seed <number>] [--events 1000000]
 */
import { setTimeout as pause } from "node:timers/promises"
import { parseArgs } from "node:util"
import { Client } from "pg"
import { random } from "../rebuild/Arena.js"
import * as Tables from "../rebuild/Tables.js"
import * as TestServer from "../support/TestServer.js"
import * as Clusters from "./Cluster.js"

const { values } = parseArgs({
  options: { rounds: { type: "string" }, seed: { type: "string" }, events: { type: "string" } }
})
const rounds = Number(values.rounds ?? "20")
const seed = Number(values.seed ?? `${Date.now() % 1_000_000_000}`)
const next = random(seed)

const server = await TestServer.start()
const { host, password, port, user } = server.address
const urlOf = (database: string) => `postgres://${user}:${password}@${host}:${port}/${database}`
const admin = new Client({ connectionString: urlOf("postgres") })
await admin.connect()
await admin.query("CREATE DATABASE arena")
await admin.end()
await Tables.create(urlOf("arena"))

const cluster = await Clusters.open(urlOf("arena"), Number(values.events ?? "1000000"))
for (let n = 0; n < 3; n++) await (await Clusters.join(cluster)).says("this runner is ready")

let expected = 20_000
for (let n = 0; n < rounds; n++) {
  const outage = n % 4 === 3 ? (next() < 0.5 ? "reset" : "silent") : undefined
  const took = await Clusters.round(cluster, 6, async () => {
    const failing = async () => {
      if (outage === undefined) return
      await pause(next() * expected * 0.5)
      await Clusters.outage(cluster, outage, 20_000)
    }
    const dying = async () => {
      await pause(next() * expected)
      const victim = cluster.runners[1 + Math.floor(next() * 2)]
      if (victim !== undefined) await Clusters.kill(cluster, victim)
      await pause(next() * 5000)
      await Clusters.join(cluster)
    }
    await Promise.all([failing(), dying()])
  })
  if (n === 0) expected = took
  console.log(`seed ${seed}: ${Math.round(took / 1000)} s, ${outage ?? "no"} outage, ${JSON.stringify(cluster.tally)}`)
}
await Clusters.close(cluster)
await server.stop()
const { uneven, unsteady, wrong } = cluster.tally
process.exit(wrong + uneven + unsteady === 0 ? 0 : 1)
