import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, FastCheck, Schema } from "effect"
import { Operation } from "effect-es-ops"
import { order } from "../../../src/operation/AppliedOperations.js"
import * as SeedStates from "../../../src/seed/plan/SeedStates.js"
import { nameOf } from "../../../src/seed/plan/SkipFlag.js"

const Ids = Schema.Array(Schema.String.pipe(Schema.minLength(1), Schema.maxLength(6)))
const ids = Arbitrary.make(Ids).map((all) => [...new Set(all)])

const planOf = (
  files: ReadonlyArray<string>,
  applied: ReadonlyMap<string, string>,
  more: Partial<SeedStates.PlanInput> = {}
) =>
  SeedStates.make({
    seeds: files.toSorted(order).map((id) => ({ id, path: `${id}.ts` })),
    applied,
    lastAttempts: new Map(),
    skipped: () => false,
    late: "run",
    ...more
  })

const seeds = (all: ReadonlyArray<string>): ReadonlyMap<string, string> =>
  new Map(all.map((id) => [id, Operation.seedMigration]))

describe("the states of seeds", () => {
  it("has every seed and every marker exactly once, in byte order", () => {
    FastCheck.assert(
      FastCheck.property(ids, ids, (files, markers) => {
        const planned = planOf(files, seeds(markers)).seeds.map(({ id }) => id)
        const bytes = (text: string) => Buffer.from(text)
        const expected = [...new Set([...files, ...markers])].toSorted((a, b) => Buffer.compare(bytes(a), bytes(b)))
        assert.deepStrictEqual(planned, expected)
      })
    )
  })

  it("gives each exactly the state that files and markers say", () => {
    FastCheck.assert(
      FastCheck.property(ids, ids, (files, markers) => {
        for (const { id, state } of planOf(files, seeds(markers)).seeds) {
          const [isFile, isMarked] = [files.includes(id), markers.includes(id)]
          const before = markers.some((marker) => order(id, marker) < 0)
          const expected = isMarked ? (isFile ? "applied" : "orphan") : before ? "late" : "pending"
          assert.strictEqual(state, expected)
        }
      })
    )
  })

  it("never calls a seed late whose flag is in force or which was skipped", () => {
    const late = planOf(["a", "b"], seeds(["b"]), { skipped: (id) => id === "a", late: "fail" })
    assert.deepStrictEqual(
      late.seeds.map(({ state }) => state),
      ["pending", "applied"]
    )
    assert.deepStrictEqual(late.problems, [])
  })

  it("refuses late seeds where that is asked for, naming file and seed", () => {
    const [problem] = planOf(["a", "b"], seeds(["b"]), { late: "fail" }).problems
    assert.deepInclude(problem, { _tag: "LateSeed", id: "a", path: "a.ts" })
  })

  it("is not fooled by a marker of another type of operation", () => {
    const { problems, seeds: planned } = planOf(
      ["a"],
      new Map([
        ["a", "projection-rebuild"],
        ["z", "event-replay"]
      ])
    )
    assert.deepStrictEqual(
      problems.map(({ _tag, id }) => [_tag, id]),
      [["IdTaken", "a"]]
    )
    assert.deepStrictEqual(
      planned.map(({ id }) => id),
      ["a"]
    )
  })
})

describe("the order of ids", () => {
  it("is that of their bytes", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary" }), FastCheck.string({ unit: "binary" }), (a, b) => {
        assert.strictEqual(order(a, b), Buffer.compare(Buffer.from(a), Buffer.from(b)))
      })
    )
  })
})

describe("the name of a skip flag", () => {
  it.each([
    ["2026-11-20-fix", "KUMIKO_SKIP_ES_OPS_2026_11_20_FIX"],
    ["a--b..c d", "KUMIKO_SKIP_ES_OPS_A_B_C_D"],
    ["-x-", "KUMIKO_SKIP_ES_OPS__X_"],
    ["über", "KUMIKO_SKIP_ES_OPS__BER"]
  ])("of %s is %s", (id, name) => {
    assert.strictEqual(nameOf(id), name)
  })
})
