/**
 * The lines of `event:backfill --verify` about the read tables, in each state that a table can be in.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type { EsOps } from "effect-es-ops"
import { RebuildProblem } from "effect-es-ops"
import { Terminal } from "../../../src/cli/output/Terminal.js"
import * as VerificationLines from "../../../src/cli/output/VerificationLines.js"

const terminal = Terminal.of({
  out: () => Effect.void,
  err: () => Effect.void,
  paint: (colour, text) => `<${colour}>${text}</${colour}>`,
  width: Infinity,
  interactive: false,
  live: () => Effect.void
})

const none = { count: 0, keys: [] }

const nothing: EsOps.Verification = { equal: true, diffs: [], unverified: [], problems: [] }

const diff = { projections: ["orders"], events: 19, deadLetters: 0 }

const table = { table: "read_orders", missing: none, surplus: none, different: none }

const verifications: Readonly<Record<string, EsOps.Verification>> = {
  "nothing is fed": nothing,
  "one table is equal, and another projection names none": {
    ...nothing,
    diffs: [{ ...diff, tables: [table] }],
    unverified: ["picky"]
  },
  "a table differs in each way, and an event is left out": {
    ...nothing,
    equal: false,
    diffs: [
      {
        ...diff,
        deadLetters: 1,
        tables: [
          {
            table: "read_orders",
            missing: { count: 1, keys: ['{"id":"a"}'] },
            surplus: { count: 2, keys: ['{"id":"b"}', '{"id":"c"}'] },
            different: { count: 21, keys: ['{"id":"d"}', '{"id":"e"}'] }
          }
        ]
      }
    ]
  },
  "tables cannot be compared": {
    ...nothing,
    equal: false,
    problems: [
      new RebuildProblem.NotRebuildable({ projection: "orders", reasons: ["one thing", "another\nin two lines"] })
    ]
  }
}

describe("what event:backfill --verify says of read tables", () => {
  it("is a line for each, with its first keys, or why there is none", async () => {
    const shown = Object.entries(verifications).map(
      ([what, verification]) => `${what}:\n${VerificationLines.verificationLines(terminal, verification).join("\n")}\n`
    )
    await expect(shown.join("\n")).toMatchFileSnapshot("../golden/verification-lines.txt")
  })
})
