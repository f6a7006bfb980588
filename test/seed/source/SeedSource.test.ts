import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Layer } from "effect"
import { EsOps, SeedProblem, SeedRunner, SeedSource } from "effect-es-ops"
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-seeds-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)
const put = (path: string, text = "export default 1") => Effect.promise(() => writeFile(path, text))
const discover = (path: string) =>
  Effect.flatMap(SeedSource.SeedSource, (source) => source.discover).pipe(
    Effect.provide(SeedSource.layerDirectory(path))
  )

describe("SeedSource.layerDirectory", () => {
  it.scoped(
    "takes modules of the folder, by their names without extension, in byte order; and says what it does not take",
    () =>
      Effect.gen(function* () {
        const root = yield* folder
        const names = ["fix.ts", "fix-2.ts", "B.mjs", "a.js", "z.mts", "ü.ts"]
        const hidden = [
          "_helper.ts",
          ".dot.ts",
          "types.d.ts",
          "types.d.mts",
          "a.test.ts",
          "b.spec.js",
          "readme.md",
          "x.json",
          ".ts"
        ]
        const odd = ["c.cts", "d.cjs", "e.tsx", "f.jsx"]
        yield* Effect.forEach([...names, ...hidden, ...odd], (name) => put(join(root, name)))
        yield* Effect.promise(() => mkdir(join(root, "folder.ts")))
        yield* put(join(root, "folder.ts", "inner.ts"))
        const { entries, problems, warnings } = yield* discover(root)
        assert.deepStrictEqual(
          entries.map(({ id }) => id),
          ["B", "a", "fix", "fix-2", "z", "ü"]
        )
        assert.deepStrictEqual(problems, [])
        assert.deepStrictEqual(warnings.length, odd.length)
        for (const name of odd)
          assert.isTrue(
            warnings.some((warning) => warning.includes(name)),
            name
          )
      })
  )

  it.scoped("reports two files of one id, naming both", () =>
    Effect.gen(function* () {
      const root = yield* folder
      yield* Effect.forEach(["c.ts", "c.js", "c.mjs"], (name) => put(join(root, name)))
      const { problems } = yield* discover(root)
      assert.deepStrictEqual(
        problems.map(({ _tag, id }) => [_tag, id]),
        [["DuplicateSeedId", "c"]]
      )
      for (const name of ["c.ts", "c.js", "c.mjs"]) assert.include(problems[0]?.message, join(root, name))
    })
  )

  it.scoped("is a problem where there is no folder, and where it is a file", () =>
    Effect.gen(function* () {
      const root = yield* folder
      const missing = yield* discover(join(root, "nothing"))
      assert.deepStrictEqual(
        [missing.entries, missing.problems.map(({ _tag }) => _tag), missing.warnings],
        [[], ["SeedSourceError"], []]
      )
      assert.include(missing.problems[0]?.message, "nothing does not exist")
      yield* put(join(root, "file"))
      const file = yield* discover(join(root, "file"))
      assert.deepStrictEqual(
        file.problems.map(({ _tag }) => _tag),
        ["SeedSourceError"]
      )
      assert.include(file.problems[0]?.message, "it is not a folder")
      // A link to itself: unreadable for everybody, whoever runs the tests.
      yield* Effect.promise(() => symlink(join(root, "loop"), join(root, "loop")))
      const unreadable = yield* discover(join(root, "loop"))
      assert.deepStrictEqual(
        unreadable.problems.map(({ _tag, path }) => [_tag, path]),
        [["SeedSourceError", join(root, "loop")]]
      )
      assert.include(unreadable.problems[0]?.message, "cannot be read: ELOOP")
    })
  )

  it.scoped("loads an edited file anew in the same process", () =>
    Effect.gen(function* () {
      const root = yield* folder
      const text = (body: string) =>
        `import { Effect } from "effect"\nimport { Seed } from "effect-es-ops"\nexport default Seed.make({ description: "", run: ${body} })`
      yield* put(join(root, "1.ts"), text(`Effect.fail("the old code")`))
      yield* Effect.gen(function* () {
        const apply = SeedRunner.apply({ appliedBy: "boot" })
        assert.include((yield* Effect.flip(apply)).message, "the old code")
        yield* put(join(root, "1.ts"), text(`Effect.fail("the new code")`))
        assert.include((yield* Effect.flip(apply)).message, "the new code")
        yield* put(join(root, "1.ts"), text(`Effect.void`))
        assert.strictEqual((yield* apply).outcomes.length, 1)
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds: root })))
    })
  )
})

describe("SeedSource.layerRecord", () => {
  it.effect("loads modules through functions, and reports what is not a seed", () =>
    Effect.gen(function* () {
      const { discover: found } = yield* SeedSource.SeedSource
      const { entries } = yield* found
      const loaded = yield* Effect.forEach(entries, ({ load }) => Effect.either(load))
      const tags = loaded.map((result) => (Either.isLeft(result) ? result.left._tag : "seed"))
      assert.deepStrictEqual(tags, ["SeedImportError", "InvalidSeed", "InvalidSeed"])
      assert.isTrue(loaded.every((result) => Either.isRight(result) || result.left instanceof SeedProblem.SeedProblem))
    }).pipe(
      Effect.provide(
        Layer.suspend(() =>
          SeedSource.layerRecord({
            a: () => Promise.reject(new Error("no module")),
            b: () => Promise.resolve({ default: { description: 1 } }),
            c: () => Promise.resolve({})
          })
        )
      )
    )
  )
})
