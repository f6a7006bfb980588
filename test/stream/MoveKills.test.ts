/**
 * The short form of the suite of moves: two processes killed under writers. `npm run test:moves` is the long form.
 */
import { assert, describe, it } from "@effect/vitest"
import { bundled, database } from "../support/Command.js"
import * as Storms from "./Moves.js"

describe("a move whose process is killed", () => {
  it("is gone on with, and leaves every event once and as it was, under writers of both tenants", async () => {
    const { url } = await database()
    const moves = await Storms.open(url, await bundled(), 4)
    await Storms.round(moves, false, Storms.points["when its COMMIT is sent"])
    const acknowledged = await moves.stop()
    const newest = await Storms.newest(moves)
    const digest = await Storms.digest(moves, newest)
    await Storms.round(moves, true, Storms.points["when it waits for the events"])
    assert.deepStrictEqual(await Storms.digest(moves, newest), digest)
    const found = await Storms.look(moves, moves.tenants[0], acknowledged)
    assert.isAbove(found.acknowledged, 0)
    await moves.client.end()
  })
})
