/**
 * The price of things, as multiples of the least that they could cost: each row is measured in one run beside its floor, in turns, on a
 * PostgreSQL 18 of its own with fsync on.
 *
 * npm run bench -- [--only <name>]… [--rounds 9] [--json <file>]
 */
import { writeFile } from "node:fs/promises"
import { cpus } from "node:os"
import { version } from "node:process"
import { parseArgs } from "node:util"
import * as BootWorks from "./BootWorks.js"
import * as CommandWorks from "./CommandWorks.js"
import * as PeerWorks from "./PeerWorks.js"
import * as Rounds from "./Rounds.js"
import * as SeedWorks from "./SeedWorks.js"
import * as WriteWorks from "./WriteWorks.js"
import * as Worlds from "./World.js"

const { values } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    rounds: { type: "string", default: "9" },
    json: { type: "string", default: "test/bench/results.json" }
  }
})
const rounds = Number(values.rounds)
if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error("--rounds is a whole number from 1 on")

const world = await Worlds.open()
try {
  const works = [
    ...SeedWorks.works(world),
    ...WriteWorks.works(world),
    ...BootWorks.works(world),
    ...CommandWorks.works(world),
    ...PeerWorks.works(world)
  ]
  const only = values.only ?? works.map(({ name }) => name)
  const unknown = only.find((name) => !works.some((work) => work.name === name))
  if (unknown !== undefined) throw new Error(`--only ${unknown}: there are ${works.map(({ name }) => name).join(", ")}`)
  const results: Array<Rounds.Result> = []
  for (const work of works.filter(({ name }) => only.includes(name))) {
    const result = await Rounds.measure(work, rounds)
    results.push(result)
    console.error(
      `${result.name}: ${result.ratio.toFixed(2)} (${result.floor.toFixed(1)}, ${result.ours.toFixed(1)} ${result.unit})`
    )
  }
  console.log(Rounds.table(results))
  await writeFile(values.json, `${JSON.stringify({ node: version, cpus: cpus().length, rounds, results }, null, 2)}\n`)
} finally {
  await world.close()
}
