/**
 * Names and text of new seeds.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, FastCheck, Schema, TestClock } from "effect"
import { SeedFile } from "effect-es-ops"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { idOf, slugOf, template } from "../../../src/seed/source/SeedTemplate.js"

const now = DateTime.unsafeMake("2026-11-24T10:15:07.890Z")

describe("a slug", () => {
  it("is lower case, with one dash for everything else, and has 60 characters at most", () => {
    assert.strictEqual(slugOf("Fill Display_Names"), "fill-display-names")
    assert.strictEqual(slugOf("--a//b--"), "a-b")
    assert.strictEqual(slugOf("ünïcode!"), "n-code")
    assert.strictEqual(slugOf(`${"a".repeat(59)} bc`), "a".repeat(59))
    for (const nothing of ["", "!!!", "-", "日本"]) assert.strictEqual(slugOf(nothing), "")
  })

  it("is its own slug, whatever it was made of", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary", maxLength: 200 }), (text) => {
        const slug = slugOf(text)
        assert.match(slug, /^([a-z0-9]+(-[a-z0-9]+)*)?$/)
        assert.isAtMost(slug.length, 60)
        assert.strictEqual(slugOf(slug), slug)
      })
    )
  })
})

describe("an id", () => {
  it("begins with the date, and with the time of day where the date has a seed, so that it sorts after it", () => {
    assert.strictEqual(idOf("a", now, []), "2026-11-24-a")
    assert.strictEqual(idOf("a", now, ["2026-11-23-z", "2026-11-241"]), "2026-11-24-a")
    for (const earlier of ["2026-11-24-z", "2026-11-24", "2026-11-24T000000-z"]) {
      const id = idOf("a", now, [earlier])
      assert.strictEqual(id, "2026-11-24T101507-a")
      assert.isAbove(id > earlier ? 1 : 0, 0)
    }
  })
})

describe("a new file", () => {
  const inFolder = <A, E>(use: (folder: string) => Effect.Effect<A, E>) =>
    Effect.acquireUseRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-new-"))),
      use,
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
    )

  it.effect("is written once and never over another one", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        yield* TestClock.setTime(DateTime.toEpochMillis(now))
        const seeds = join(folder, "not", "there", "yet")
        const first = yield* SeedFile.create(seeds, "First one")
        assert.deepStrictEqual(first, {
          id: "2026-11-24-first-one",
          path: join(seeds, "2026-11-24-first-one.ts"),
          before: []
        })
        const second = yield* SeedFile.create(seeds, "again")
        assert.strictEqual(second.id, "2026-11-24T101507-again")
        yield* Effect.promise(() => writeFile(second.path, "mine"))
        const refused = yield* Effect.flip(SeedFile.create(seeds, "again"))
        assert.strictEqual(refused._tag, "SeedNotCreated")
        assert.include(refused.message, second.path)
        assert.strictEqual(yield* Effect.promise(() => readFile(second.path, "utf8")), "mine")
      })
    )
  )

  it.effect("tells which seeds sort after it", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        yield* TestClock.setTime(DateTime.toEpochMillis(now))
        yield* Effect.promise(() => writeFile(join(folder, "2027-01-01-later.js"), ""))
        const { before } = yield* SeedFile.create(folder, "now")
        assert.deepStrictEqual(before, ["2027-01-01-later"])
      })
    )
  )

  it.effect("is refused where nothing of the name is left, or the folder is a file", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(SeedFile.create(folder, "???")))._tag, "SeedNotCreated")
        yield* Effect.promise(() => writeFile(join(folder, "file"), ""))
        const error = yield* Effect.flip(SeedFile.create(join(folder, "file"), "a"))
        assert.strictEqual(error._tag, "SeedsInconsistent")
        assert.deepStrictEqual(yield* Effect.promise(() => readdir(folder)), ["file"])
      })
    )
  )

  it("quotes its description, whatever is in it", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary" }), (text) => {
        const [, literal = ""] = /description: (".*"),$/m.exec(template(text)) ?? []
        assert.strictEqual(Schema.decodeUnknownSync(Schema.parseJson(Schema.String))(literal), text)
      })
    )
  })
})
