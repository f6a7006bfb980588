/**
 * What the command costs to start.
 */
import { join } from "node:path"
import * as Projects from "../support/Project.js"
import type { Work } from "./Rounds.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const command = join(Projects.repository, "dist", "bin.js")

const version = async () => {
  const at = { cwd: Projects.repository, env: process.env }
  return {
    floor: { run: () => Worlds.ran("-e", ["0"], at), repeat: 5 },
    ours: { run: () => Worlds.ran(command, ["--version"], at), repeat: 5 },
    close: async () => undefined
  }
}

const bare = `import { Client } from "pg"
const client = new Client({ connectionString: process.env.DATABASE_URL })
await client.connect()
const { rows } = await client.query("SELECT id, operation_type, applied_at, duration_ms, applied_by, notes FROM kumiko_es_operations ORDER BY id")
for (const row of rows) console.log(row.id, row.applied_at)
await client.end()
`

const status = (world: World) => async () => {
  const seed = `import { Effect } from "effect"
import { Seed } from "effect-es-ops"
export default Seed.make({ description: "nothing", run: Effect.void })
`
  const project = await Projects.make({
    ...Object.fromEntries(Worlds.ids(100).map((id) => [`seeds/${id}.mjs`, seed])),
    "bare.mjs": bare
  })
  const at = { cwd: project.folder, env: { PATH: process.env["PATH"] ?? "", DATABASE_URL: await world.database() } }
  await Worlds.ran(command, ["seed:apply"], at)
  return {
    floor: { run: () => Worlds.ran("bare.mjs", [], at), repeat: 3 },
    ours: { run: () => Worlds.ran(command, ["seed:status"], at), repeat: 3 },
    close: project.remove
  }
}

export const works = (world: World): ReadonlyArray<Work> => [
  { name: "version", work: "es-ops --version", floor: "node -e 0", target: 2.5, open: version },
  {
    name: "status",
    work: "es-ops seed:status, a server and 100 applied seeds",
    floor: "a script with the bare driver and the same query",
    target: 3,
    open: status(world)
  }
]
