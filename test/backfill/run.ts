/**
 * The long form of the backfill suite: so many rows, whose old application writes them meanwhile, and so many processes killed, on a PostgreSQL of
 * its own.
 *
 * npm run test:backfill -- [--rows 100000] [--kills 20] [--seed <number>]
 */
import { parseArgs } from "node:util"
import { Client } from "pg"
import { random } from "../rebuild/Arena.js"
import * as Bundle from "../support/Bundle.js"
import * as CommandServer from "../support/CommandServer.js"
import * as Projects from "../support/Project.js"
import * as TestServer from "../support/TestServer.js"
import * as Storms from "./Storm.js"

const { values } = parseArgs({
  options: { rows: { type: "string" }, kills: { type: "string" }, seed: { type: "string" } }
})
const rows = Number(values.rows ?? "100000")
const kills = Number(values.kills ?? "20")
const seed = Number(values.seed ?? `${Date.now() % 1_000_000_000}`)
const next = random(seed)

const bundle = await Bundle.make()
const server = await TestServer.start({ fsync: "on" })
const { host, password, port, user } = server.address
const urlOf = (database: string) => `postgres://${user}:${password}@${host}:${port}/${database}`
const project = await Projects.make({ "es-ops.config.mjs": Storms.config }, "project", bundle.folder)
try {
  const admin = new Client({ connectionString: urlOf("postgres") })
  await admin.connect()
  await admin.query("CREATE DATABASE legacy")
  await admin.end()
  // A line may take minutes: each has a process of its own.
  const storm = await Storms.open(urlOf("legacy"), project, rows, project.runProcess)
  let killed = 0
  while (killed < kills) {
    const point = Storms.pointNames[Math.floor(next() * 8)]
    if (point !== undefined) await Storms.killAt(storm, point)
    else if (!(await Storms.killAfter(storm, 500 + next() * 1000))) break
    killed++
  }
  const found = await Storms.end(storm)
  console.log(`seed ${seed}: ${killed} processes killed, ${JSON.stringify(found)}`)
} finally {
  await CommandServer.end()
  await server.stop()
  await project.remove()
  await bundle.remove()
}
