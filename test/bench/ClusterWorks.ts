/**
 * What a cluster costs: the same rebuild by two runners, and by one process.
 */
import * as Clusters from "../cluster/Cluster.js"
import * as Tables from "../rebuild/Tables.js"
import type { Side, Work } from "./Rounds.js"
import { measured } from "./Rounds.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const events = 300_000

/** A process that rebuilds each time that it is told to. */
const rebuilder = async (url: string, how: "cluster" | "alone") => {
  const program = Worlds.program("ClusterRebuilder.mjs", [url, how])
  await program.next()
  const side: Side = {
    run: async () => {
      program.go()
      return measured(Number(await program.next()))
    }
  }
  return { side, end: () => program.end() }
}

const rebuilds = (world: World) => async () => {
  const url = await world.database()
  await Tables.create(url)
  const cluster = await Clusters.open(url, events)
  for (let n = 0; n < 2; n++) await (await Clusters.join(cluster)).says("this runner is ready")
  const [alone, together] = [await rebuilder(url, "alone"), await rebuilder(url, "cluster")]
  return {
    floor: alone.side,
    ours: together.side,
    close: async () => {
      await Promise.all([alone.end(), together.end()])
      await Clusters.close(cluster)
    }
  }
}

/** The row of the table. */
export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "cluster",
    work: "a rebuild of 300,000 events by two runners of a cluster, two lanes",
    floor: "the same by one process with two lanes",
    // 0.8 of its rate.
    target: 1.25,
    open: rebuilds(world)
  }
]
