/**
 * The price of things, as multiples of the least that they could cost: each row is measured in one run beside its floor, in turns, on a
 * PostgreSQL 18 of its own with fsync on. A row has a process for itself: what another did to the heap and the compiled code would count, and
 * made writes dearer by a quarter.
 *
 * npm run bench -- [--only <name>]… [--rounds 9] [--json <file>]
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { writeFile } from "node:fs/promises"
import { cpus } from "node:os"
import process, { version } from "node:process"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as BootWorks from "./BootWorks.js"
import * as ClusterWorks from "./ClusterWorks.js"
import * as CommandWorks from "./CommandWorks.js"
import * as KindWorks from "./KindWorks.js"
import * as PeerWorks from "./PeerWorks.js"
import * as ProtocolWorks from "./ProtocolWorks.js"
import * as PurgeWorks from "./PurgeWorks.js"
import * as RebuildWorks from "./RebuildWorks.js"
import * as Rounds from "./Rounds.js"
import * as SeedWorks from "./SeedWorks.js"
import * as WriteWorks from "./WriteWorks.js"
import * as Worlds from "./World.js"

const { values } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    rounds: { type: "string", default: "9" },
    json: { type: "string", default: "test/bench/results.json" },
    // What a process of one row is told: the server of the run.
    server: { type: "string" }
  }
})
const rounds = Number(values.rounds)
if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error("--rounds is a whole number from 1 on")

const worksOn = (server: string) => {
  const world = Worlds.on(server)
  const all = [
    SeedWorks,
    WriteWorks,
    ProtocolWorks,
    BootWorks,
    CommandWorks,
    PurgeWorks,
    KindWorks,
    PeerWorks,
    RebuildWorks,
    ClusterWorks
  ]
  return all.flatMap(({ works }) => works(world))
}

/** Measures one row in a process of its own. */
const measuredApart = async (name: string, server: string): Promise<Rounds.Result> => {
  const args = ["--only", name, "--rounds", `${rounds}`, "--server", server]
  const child = fork(fileURLToPath(import.meta.url), args)
  const [result] = await Promise.race([once(child, "message"), once(child, "exit").then(() => [undefined])])
  if (result === undefined) throw new Error(`${name} could not be measured`)
  await once(child, "exit")
  return result
}

const all = async (): Promise<void> => {
  const names = worksOn("").map(({ name }) => name)
  const only = values.only ?? names
  const unknown = only.find((name) => !names.includes(name))
  if (unknown !== undefined) throw new Error(`--only ${unknown}: there are ${names.join(", ")}`)
  const server = await Worlds.start()
  try {
    const results: Array<Rounds.Result> = []
    for (const name of names.filter((known) => only.includes(known))) {
      const result = await measuredApart(name, server.url).catch((error: unknown) => {
        process.exitCode = 1
        console.error(String(error))
      })
      if (result === undefined) continue
      results.push(result)
      console.error(
        `${name}: ${result.ratio.toFixed(2)} (${result.floor.toFixed(1)}, ${result.ours.toFixed(1)} ${result.unit})`
      )
    }
    console.log(Rounds.table(results))
    await writeFile(
      values.json,
      `${JSON.stringify({ node: version, cpus: cpus().length, rounds, results }, null, 2)}\n`
    )
  } finally {
    await server.stop()
  }
}

if (values.server === undefined) await all()
else {
  for (const work of worksOn(values.server).filter(({ name }) => values.only?.includes(name)))
    process.send?.(await Rounds.measure(work, rounds))
  process.disconnect()
}
