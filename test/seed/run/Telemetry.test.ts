/**
 * What a run shows to an application that is watched: spans with what came of each seed, metrics, and log lines with annotations.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import type { Exit } from "effect"
import { Effect, HashMap, Layer, Logger, Metric, Tracer } from "effect"
import { EsOps, Seed, SeedContext, SeedRunner } from "effect-es-ops"
import * as SeedMetrics from "../../../src/seed/run/SeedMetrics.js"
import { fresh } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

interface EndedSpan {
  readonly name: string
  readonly attributes: ReadonlyMap<string, unknown>
  readonly exit: Exit.Exit<unknown, unknown>
}

/** A tracer that keeps the spans that have ended. */
const keeping = (ended: Array<EndedSpan>): Tracer.Tracer =>
  Tracer.make({
    context: (run) => run(),
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      return {
        _tag: "Span",
        name,
        parent,
        context,
        links,
        kind,
        attributes,
        spanId: name,
        traceId: "trace",
        sampled: true,
        status: { _tag: "Started", startTime },
        attribute: (key, value) => void attributes.set(key, value),
        end: (_, exit) => void ended.push({ name, attributes, exit }),
        event: () => undefined,
        addLinks: () => undefined
      }
    }
  })

const seeds = {
  "1": Seed.make({
    description: "a write, in the middle of which another program applies the next seed",
    run: Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* SeedContext.systemWriteAs("tenant:write:create", { key: "a", name: "A" })
      yield* sql`INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by) VALUES ('2', 'seed-migration', 1, 'boot')`
    })
  }),
  "2": Seed.make({ description: "never run here", run: Effect.die("it is applied") }),
  "3": Seed.make({ description: "fails", run: Effect.fail(new Error("no")) })
}

/** Applies the seeds; gives how that ended. */
const applied = Effect.gen(function* () {
  const { url } = yield* TestDatabase
  return yield* SeedRunner.apply({ appliedBy: "boot" }).pipe(
    Effect.exit,
    Effect.provide(Layer.provide(EsOps.layer({ seeds }), Database.clientOf(url)))
  )
})

describe("a watched run", () => {
  it.effect("has a span for each seed with its outcome, events and wait, none of which failed for a lost race", () =>
    Effect.gen(function* () {
      const ended: Array<EndedSpan> = []
      yield* Effect.withTracer(applied, keeping(ended))
      const named = (name: string) => ended.filter((span) => span.name === name)
      const shown = named("SeedRunner.applyOne").map(({ attributes, exit }) => [
        attributes.get("seed"),
        attributes.get("outcome"),
        attributes.get("events"),
        typeof attributes.get("waitedMs"),
        exit._tag
      ])
      assert.deepStrictEqual(shown, [
        ["1", "Applied", 1, "number", "Success"],
        ["2", "Raced", undefined, "undefined", "Success"],
        ["3", undefined, undefined, "undefined", "Failure"]
      ])
      const steps = named("Transactor.step").map(({ attributes, exit }) => [attributes.get("outcome"), exit._tag])
      assert.deepStrictEqual(steps.slice(-3), [
        ["Committed", "Success"],
        ["RolledBack", "Success"],
        ["RolledBack", "Success"]
      ])
      const claims = named("OperationLock.claim").map(({ attributes, exit }) => [attributes.get("outcome"), exit._tag])
      assert.deepStrictEqual(claims.slice(-3), [
        ["free", "Success"],
        ["AlreadyApplied", "Success"],
        ["free", "Success"]
      ])
      assert.isAtLeast(named("OperationLog.applied").length, 1)
    }).pipe(fresh)
  )

  it.effect("has two spans where there is nothing to do: its own, and that of the question", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const ended: Array<EndedSpan> = []
      const boot = SeedRunner.apply({ appliedBy: "boot" })
      const nothing = { "1": Seed.make({ description: "nothing", run: Effect.void }) }
      yield* Effect.zipRight(boot, Effect.withTracer(boot, keeping(ended))).pipe(
        Effect.provide(Layer.provide(EsOps.layer({ seeds: nothing }), Database.clientOf(url)))
      )
      assert.deepStrictEqual(
        ended.map(({ name }) => name),
        ["OperationLog.applied", "SeedRunner.apply"]
      )
    }).pipe(fresh)
  )

  it.effect("counts what came of its seeds, how long they took and waited, and what is left", () =>
    Effect.gen(function* () {
      const read = Effect.all({
        applied: Metric.value(SeedMetrics.applied),
        failed: Metric.value(SeedMetrics.failed),
        raced: Metric.value(SeedMetrics.raced),
        events: Metric.value(SeedMetrics.events),
        duration: Metric.value(SeedMetrics.duration),
        lockWait: Metric.value(SeedMetrics.lockWait),
        pending: Metric.value(SeedMetrics.pending)
      })
      const before = yield* read
      yield* applied
      const after = yield* read
      for (const name of ["applied", "failed", "raced", "events", "duration", "lockWait"] as const) {
        assert.strictEqual(after[name].count - before[name].count, 1, name)
      }
      assert.strictEqual(after.pending.value, 1)
    }).pipe(fresh)
  )

  it.effect("logs each outcome with the seed's id, the outcome, its duration and events as annotations", () =>
    Effect.gen(function* () {
      const lines: Array<Readonly<Record<string, unknown>>> = []
      const keepingLines = Logger.replace(
        Logger.defaultLogger,
        Logger.make<unknown, void>(({ annotations }) => {
          lines.push(Object.fromEntries(HashMap.toEntries(annotations)))
        })
      )
      yield* Effect.provide(applied, keepingLines)
      const outcomes = lines.filter(({ outcome }) => outcome !== undefined)
      assert.deepInclude(outcomes[0], { seed: "1", outcome: "applied", events: 1 })
      assert.strictEqual(typeof outcomes[0]?.["duration"], "number")
      assert.deepInclude(outcomes[1], { seed: "2", outcome: "raced" })
      assert.lengthOf(outcomes, 2)
    }).pipe(fresh)
  )
})
