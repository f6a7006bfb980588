/**
 * The short form of the fault suite: every named point, every fault, and a few crowds. `npm run test:faults` is the long form.
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
  arena = await Faults.open((await database()).url, proxy, inject("bundle"))
})
afterAll(async () => {
  await arena.close()
  await proxy.close()
})

/** Every point with SIGKILL and two of the other faults by turns; the long form has them all. */
const others = Faults.faults.filter((fault) => fault !== "SIGKILL")
const cases = FaultProxies.pointNames.flatMap((point, n) =>
  (["SIGKILL", others[n % 4], others[(n + 2 + Math.floor(n / 4)) % 4]] as const).flatMap((fault, m) =>
    fault === undefined ? [] : [{ point, fault, passes: (n + m) % 2 }]
  )
)

describe("exactly once", () => {
  // "before the lock" is passed once more: the first BEGIN is that of the tables' own transaction.
  it.each(cases)("$fault $point", async ({ fault, passes, point }) => {
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

  it("crowds that are killed at random instants", async () => {
    const next = Faults.random(20_261_124)
    for (let n = 0; n < 4; n++) {
      await Faults.crowd(
        arena,
        `c${n}`,
        (["SIGKILL", "SIGTERM", "SIGINT"] as const).map((signal) => ({ after: 200 + next() * 700, signal }))
      )
    }
    const { doubled, kills, lost } = arena.tally
    assert.deepStrictEqual([doubled, lost], [0, 0])
    assert.isAbove(kills, 0)
  })
})
