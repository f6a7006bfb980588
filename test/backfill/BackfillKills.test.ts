/**
 * The short form of the backfill suite: a few processes killed beside the old application. `npm run test:backfill` is the long form.
 */
import { describe, it } from "@effect/vitest"
import { bundled, database } from "../support/Command.js"
import * as Storms from "./Storm.js"

describe("a backfill of a table that is written meanwhile", () => {
  it("takes every row once, dated as it says and with its read row, wherever its process is killed", async () => {
    const { url } = await database()
    const project = await bundled({ "es-ops.config.mjs": Storms.config })
    const storm = await Storms.open(url, project, 1500)
    for (const point of ["when read rows are written", "when its COMMIT is sent"] as const)
      await Storms.killAt(storm, point)
    await Storms.end(storm)
  })
})
