/**
 * The short form of the fault suite: every named point with every fault, and a few crowds. `npm run test:faults` is the long form.
 */
import { assert, afterAll, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { database } from "../support/Command.js"
import type { FaultProxy } from "../support/FaultProxy.js"
import * as FaultProxies from "../support/FaultProxy.js"
import type { Arena } from "./Faults.js"
import * as Faults from "./Faults.js"

let proxy: FaultProxy
let arena: Arena
beforeAll(async () => {
  proxy = await FaultProxies.start(inject("postgres"))
  arena = await Faults.open((await database()).url, proxy)
})
afterAll(async () => {
  await arena.close()
  await proxy.close()
})

const cases = FaultProxies.pointNames.flatMap((point, n) =>
  Faults.faults.map((fault, m) => ({ point, fault, passes: (n + m) % 2 }))
)

describe("exactly once", () => {
  // "before the lock" is passed once more: the first BEGIN is that of the tables' own transaction.
  it.each(cases)("$fault $point", { timeout: 60_000 }, async ({ fault, passes, point }) => {
    await Faults.atPoint(
      arena,
      `p${cases.findIndex((c) => c.point === point && c.fault === fault)}`,
      point,
      fault,
      passes
    )
  })

  it.each(["SIGKILL", "SIGTERM", "SIGINT"] as const)("%s while waiting for the lock", async (signal) => {
    await Faults.whileWaiting(arena, `w${signal.toLowerCase()}`, signal)
  })

  it("crowds that are killed at random instants", { timeout: 120_000 }, async () => {
    const next = Faults.random(20_261_124)
    for (let n = 0; n < 4; n++) {
      await Faults.crowd(
        arena,
        `c${n}`,
        [next, next, next].map((draw) => 300 + draw() * 900)
      )
    }
    const { doubled, kills, lost } = arena.tally
    assert.deepStrictEqual([doubled, lost], [0, 0])
    assert.isAbove(kills, 0)
  })
})
