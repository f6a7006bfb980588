/**
 * What the command costs to start.
 */
import { SeedStatus } from "effect-es-ops"
import { build } from "esbuild"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
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

/** The command on a project of 100 applied seeds, beside a script with the bare driver. */
const status = (world: World) => async () => {
  const seed = `import { Effect } from "effect"
import { Seed } from "effect-es-ops"
export default Seed.make({ description: "nothing", run: Effect.void })
`
  const project = await Projects.make({
    ...Object.fromEntries(Worlds.ids(100).map((id) => [`seeds/${id}.mjs`, seed])),
    "bare.mjs": bare
  })
  const url = await world.database()
  const at = { cwd: project.folder, env: { PATH: process.env["PATH"] ?? "", DATABASE_URL: url } }
  await Worlds.ran(command, ["seed:apply"], at)
  return {
    url,
    at,
    sides: {
      floor: { run: () => Worlds.ran("bare.mjs", [], at), repeat: 3 },
      ours: { run: () => Worlds.ran(command, ["seed:status"], at), repeat: 3 },
      close: project.remove
    }
  }
}

/** The same with the program of `Status.mjs` in the place of the command, bundled as that is. */
const statusAsEffect = (world: World) => async () => {
  const { at, sides, url } = await status(world)()
  const app = Worlds.application(url, join(at.cwd, "seeds"))
  const messages = await Worlds.sent(() => app.runPromise(SeedStatus.status))
  await app.dispose()
  await writeFile(join(at.cwd, "messages.json"), JSON.stringify(messages))
  // Inside this folder the packages that are not in the bundle are found.
  const folder = await Worlds.filled(fileURLToPath(new URL(`status-${process.pid}`, import.meta.url)), {})
  const program = join(folder.path, "status.mjs")
  await build({
    entryPoints: [fileURLToPath(new URL("Status.mjs", import.meta.url))],
    outfile: program,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["oxc-parser", "pg-native"],
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);'
    }
  })
  return {
    floor: sides.floor,
    ours: { run: () => Worlds.ran(program, ["seed:status"], at), repeat: 3 },
    close: () => Promise.all([sides.close(), folder.remove()])
  }
}

export const works = (world: World): ReadonlyArray<Work> => [
  { name: "version", work: "es-ops --version", floor: "node -e 0", target: 2.5, open: version },
  {
    name: "status",
    work: "es-ops seed:status, a server and 100 applied seeds",
    floor: "a script with the bare driver and the same query",
    target: 3,
    open: async () => (await status(world)()).sides
  },
  {
    name: "status-messages-effect",
    work: "the messages of that command, and the sources parsed and hashed, by a command of an Effect program",
    floor: "a script with the bare driver and the same query",
    open: statusAsEffect(world)
  }
]
