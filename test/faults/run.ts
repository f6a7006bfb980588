/**
 * The long form of the fault suite: so many rounds of faults, or until so many processes were killed, on a PostgreSQL 18 of its own.
 *
 * npm run test:faults -- [--rounds 100 | --kills 200] [--seed <number>] [--lanes 2] [--crowd 50]
 */
import { parseArgs } from "node:util"
import { Client } from "pg"
import * as Bundle from "../support/Bundle.js"
import * as CommandServer from "../support/CommandServer.js"
import * as FaultProxies from "../support/FaultProxy.js"
import * as TestServer from "../support/TestServer.js"
import * as Faults from "./Faults.js"

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    kills: { type: "string" },
    seed: { type: "string" },
    lanes: { type: "string" },
    crowd: { type: "string" }
  }
})
const rounds = Number(values.rounds ?? (values.kills === undefined ? "100" : `${Number.MAX_SAFE_INTEGER}`))
const kills = Number(values.kills ?? `${Number.MAX_SAFE_INTEGER}`)
const seed = Number(values.seed ?? `${Date.now() % 1_000_000_000}`)
const lanes = Number(values.lanes ?? "2")
const crowd = Number(values.crowd ?? "50")
if (![rounds, kills, seed, lanes, crowd].every((n) => Number.isSafeInteger(n) && n >= 0))
  throw new Error("--rounds, --kills, --seed, --lanes and --crowd are whole numbers")

const bundle = await Bundle.make()
const server = await TestServer.start({ fsync: "on" })
const { host, password, port, user } = server.address
const urlOf = (database: string) => `postgres://${user}:${password}@${host}:${port}/${database}`

const tallies: Array<Faults.Tally> = []
const total = () =>
  tallies.reduce((sum, tally) => ({
    rounds: sum.rounds + tally.rounds,
    kills: sum.kills + tally.kills,
    faults: sum.faults + tally.faults,
    doubled: sum.doubled + tally.doubled,
    lost: sum.lost + tally.lost
  }))
const say = () => console.log(`seed ${seed}: ${JSON.stringify(total())}`)

/** Rounds one after another, on a database and a wire of their own. */
const lane = async (number: number): Promise<void> => {
  const admin = new Client({ connectionString: urlOf("postgres") })
  await admin.connect()
  await admin.query(`CREATE DATABASE lane_${number}`)
  await admin.end()
  const proxy = await FaultProxies.start({ host, port })
  const arena = await Faults.open(urlOf(`lane_${number}`), proxy, bundle.folder)
  tallies.push(arena.tally)
  const next = Faults.random(seed + number)
  // On an empty database, by the first lane alone.
  if (number === 0 && crowd > 0) await Faults.undisturbed(arena, "crowd", crowd)
  const pick = <A>(from: ReadonlyArray<A>): A => {
    const picked = from[Math.floor(next() * from.length)]
    if (picked === undefined) throw new Error("there is nothing to pick from")
    return picked
  }
  for (let n = 0; total().kills < kills && total().rounds < rounds; n++) {
    const name = `l${number}r${n}`
    if (next() < 0.6)
      await Faults.crowd(
        arena,
        name,
        // Mostly SIGKILL: a signal that can be handled leaves less to chance.
        Array.from({ length: 4 }, () => ({
          after: 400 + next() * 1400,
          signal: pick(["SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT"] as const)
        }))
      )
    else await Faults.atPoint(arena, name, pick(FaultProxies.pointNames), pick(Faults.faults), Math.floor(next() * 3))
    if (n % 25 === 24) say()
  }
  await arena.close()
  await proxy.close()
}

try {
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)))
} finally {
  say()
  // What runs commands without a process of their own would keep this one from its end.
  await CommandServer.end()
  await server.stop()
  await bundle.remove()
}
