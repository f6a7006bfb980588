/**
 * The lines of `projection:status` and `runs` about a run that has not ended.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { ProjectionStatus, Run } from "effect-es-ops"
import { Terminal } from "../../../src/cli/output/Terminal.js"
import * as ProjectionLines from "../../../src/cli/output/ProjectionLines.js"
import * as RunLines from "../../../src/cli/output/RunLines.js"

const terminal = Terminal.of({
  out: () => Effect.void,
  err: () => Effect.void,
  paint: (_, text) => text,
  width: Infinity,
  interactive: false,
  live: () => Effect.void
})

const run: Run.Run = {
  id: "52da9462-4d1e-4e55-b858-0bf4d4e224ce",
  operationType: "projection-rebuild",
  name: "orders",
  params: {},
  definition: "",
  access: { reads: ["order"], changes: [] },
  phase: "bulk",
  cursor: Option.none(),
  done: 500,
  total: Option.some(1500),
  counters: {},
  epoch: 1,
  owner: { host: "here", pid: 7 },
  leaseUntil: Option.none(),
  isLive: true,
  startedAt: "2026-11-30T09:00:00Z",
  updatedAt: "2026-11-30T09:00:05Z",
  endedAt: Option.none(),
  rate: Option.some(100),
  outcome: "running",
  error: Option.none()
}

const lineOf = (found: Run.Run): string => {
  const status: ProjectionStatus.ProjectionStatusEntry = {
    name: "orders",
    tables: ["read_orders"],
    version: 1,
    builtVersion: 1,
    outdated: false,
    lastRebuild: Option.none(),
    run: Option.some(found),
    deadLetters: 0
  }
  return ProjectionLines.statusLines(terminal, [status])[0] ?? ""
}

describe("the line of a projection whose rebuild has not ended", () => {
  it("tells the speed and the time left only while a process is in the rebuild", () => {
    assert.match(lineOf(run), /ce: bulk, 500 of 1500, 100\/s, 10 s left$/)
    assert.match(lineOf({ ...run, isLive: false, outcome: "paused" }), /ce: not going on; bulk, 500 of 1500$/)
  })
})

describe("the line of a run", () => {
  it("tells the types that it changes where its name is made of its parameters", () => {
    const moves = { ...run, operationType: "stream-migration", name: "0123456789abcdef" }
    const [line, other] = RunLines.runLines(terminal, [
      { ...moves, access: { reads: [], changes: ["order", "cart"] } },
      { ...run, access: { reads: [], changes: ["order"] } }
    ])
    assert.match(line ?? "", /stream-migration "0123456789abcdef" of order, cart {2}/)
    assert.match(other ?? "", /projection-rebuild "orders" {2}/)
  })
})
