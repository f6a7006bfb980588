/**
 * The lines of a plan.
 */
import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import { parse } from "../../../src/cli/input/PlanFile.js"

const [a, b, c] = [
  "0b8f6c52-1f0e-4c1d-8a58-61d9a7a0c001",
  "00000000-0000-4000-8000-000000000000",
  "7f3c5b1e-0d5a-4c3e-9f5e-2b1a6c8d9e10"
]
const moves = ["aggregateId", "from", "to"]
const streams = ["aggregateId", "tenantId|tenant", "reason?"]

describe("a plan", () => {
  it.each([
    ["CSV", `${a},${b},${c}\n`],
    [
      "CSV with a first line of names, a byte order mark and Windows line ends",
      `\uFEFFaggregateId,from,to\r\n${a},${b},${c}\r\n`
    ],
    ["CSV with the columns in another order", `to,aggregateId,from\n${c},${a},${b}`],
    ["JSON lines", `{"aggregateId":"${a}","from":"${b}","to":"${c}"}\n\n`]
  ])("is read from %s", (_, text) => {
    assert.deepStrictEqual(Either.getOrThrow(parse(text, moves)), [{ aggregateId: a, from: b, to: c }])
  })

  it("takes texts between quotes, and columns that may be left out", () => {
    const text = `${a},${b},"closed, ""for good"""\n${a},${b}\n{"aggregateId":"${a}","tenant":"${b}"}`
    assert.deepStrictEqual(
      Either.getOrThrow(parse(text, streams)).map(({ reason = "" }) => reason),
      ['closed, "for good"', "", ""]
    )
  })

  it("says of every line that cannot be used what is wrong with it", () => {
    const text = `${a},${b}\n{"aggregateId":\n${a},${b},${c},d\nx,${b},${c}\n{"aggregateId":"${a}","who":"${b}"}`
    const problems = Either.getOrThrow(Either.flip(parse(text, moves)))
    assert.deepStrictEqual(
      problems.map((problem) => problem.slice(0, 12)),
      ['line 1: "to"', "line 2: it i", "line 3: it h", 'line 4: "agg', "line 5: ther"]
    )
    assert.deepStrictEqual(Either.getOrThrow(Either.flip(parse("\n", moves))), ["it has no line"])
  })

  it("says once that its first line names other columns", () => {
    const text = `aggregateId,from,to\n${a},${b},${c}\n${a},${b},${c}\n`
    assert.deepStrictEqual(Either.getOrThrow(Either.flip(parse(text, streams))), [
      'line 1: there is no "from": the columns are aggregateId,tenantId,reason'
    ])
    assert.lengthOf(Either.getOrThrow(parse(`${a},${b},reason\n`, streams)), 1)
  })
})
