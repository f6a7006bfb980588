/**
 * The short form of the rebuild suite: each way of taking over, beside all writers. `npm run test:rebuild` is the long form.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { database } from "../support/Command.js"
import type { Arena } from "./Arena.js"
import * as Arenas from "./Arena.js"
import * as Tables from "./Tables.js"

let arena: Arena
beforeAll(async () => {
  const { url } = await database()
  await Tables.create(url)
  arena = await Arenas.open(url, 20_261_129)
})
afterAll(() => arena.client.end())

describe("a rebuild beside programs that write, roll back, archive and restore", () => {
  it.each([
    { projection: "totals", mode: "merge", kills: 1 },
    { projection: "kinds", mode: "gradual", kills: 0 },
    { projection: "entries", mode: "swap", kills: 0 }
  ] as const)(
    "leaves no row of $projection wrong, and shows readers no gap: $mode, killed $kills times",
    async ({ kills, mode, projection }) => {
      await Arenas.round(arena, projection, mode, kills)
      assert.deepStrictEqual([arena.tally.wrong, arena.tally.gaps], [0, 0])
    }
  )
})
