/**
 * What is said of seeds while they are applied.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, HashMap, Logger, Option } from "effect"
import { SeedReport } from "effect-es-ops"
import * as Observer from "../../src/seed/Observer.js"

const { SeedOutcome } = SeedReport

const logged = (effect: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const lines: Array<readonly [unknown, Record<string, unknown>]> = []
    const logger = Logger.make(({ annotations, message }) => {
      lines.push([message, Object.fromEntries(HashMap.entries(annotations))])
    })
    yield* Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger))
    return lines
  })

describe("Observer.logging", () => {
  it.effect("annotates the line of an outcome with the seed, the outcome, its duration and its events", () =>
    Effect.gen(function* () {
      const { outcome } = Observer.logging
      const applied = { id: "1", durationMs: 12, events: 3, preview: Option.none(), atomic: true }
      assert.deepStrictEqual(yield* logged(outcome(SeedOutcome.Applied(applied))), [
        [['"1" applied in 12 ms, 3 events'], { seed: "1", outcome: "applied", duration: 12, events: 3 }]
      ])
      assert.deepStrictEqual(yield* logged(outcome(SeedOutcome.Skipped({ id: "2", flag: "FLAG" }))), [
        [['"2" skipped by FLAG'], { seed: "2", outcome: "skipped" }]
      ])
      assert.deepStrictEqual(yield* logged(outcome(SeedOutcome.Raced({ id: "3" }))), [
        [['"3" was applied by another replica'], { seed: "3", outcome: "raced" }]
      ])
    })
  )

  it.effect("says how many seeds there are to apply, and nothing when one begins", () =>
    Effect.gen(function* () {
      const { planned, started } = Observer.logging
      assert.deepStrictEqual(yield* logged(planned(["1"], [])), [[["1 seed to apply"], {}]])
      assert.deepStrictEqual(yield* logged(planned(["1", "2"], ["3"])), [[["2 seeds to apply"], {}]])
      assert.deepStrictEqual(yield* logged(started("1", true)), [])
    })
  )
})
