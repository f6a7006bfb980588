/**
 * The short form of the cluster suite: one rebuild, one runner killed and one that comes late. `npm run test:cluster` is the long form.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Tables from "../rebuild/Tables.js"
import { database } from "../support/Command.js"
import type { Cluster } from "./Cluster.js"
import * as Clusters from "./Cluster.js"

let cluster: Cluster
beforeAll(async () => {
  const { url } = await database()
  await Tables.create(url)
  cluster = await Clusters.open(url, 20_000)
})
afterAll(() => Clusters.close(cluster))

describe("a rebuild on a cluster of processes", () => {
  it("has every row right, and every lane's work once, though a runner is killed with its lanes and one comes late", async () => {
    const [first, second] = [await Clusters.join(cluster), await Clusters.join(cluster)]
    await Clusters.round(cluster, 4, async () => {
      const victim = await Promise.race(
        [first, second].map((runner) => runner.says("is worked on here").then(() => runner))
      )
      await Clusters.kill(cluster, victim)
      await Clusters.join(cluster)
    })
    assert.deepStrictEqual(cluster.tally, { rounds: 1, kills: 1, outages: 0, wrong: 0, uneven: 0, unsteady: 0 })
  })
})
