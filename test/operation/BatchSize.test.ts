/**
 * The size of batches.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { BatchSize } from "effect-es-ops"

describe("the size of batches", () => {
  it.effect("grows while batches are short, shrinks when they are long, and stays within its bounds", () =>
    Effect.gen(function* () {
      const size = yield* BatchSize.make({ initial: 100, min: 50, max: 500 })
      const after = (items: number, milliseconds: number) => Effect.zipRight(size.took(items, milliseconds), size.get)
      assert.strictEqual(yield* after(100, 20), 200)
      assert.strictEqual(yield* after(200, 600), 200)
      // The last batch of a source says nothing.
      assert.strictEqual(yield* after(3, 5), 200)
      assert.strictEqual(yield* after(200, 100), 400)
      assert.strictEqual(yield* after(400, 100), 500)
      assert.strictEqual(yield* after(500, 2000), 167)
      assert.strictEqual(yield* after(167, 60_000), 50)
    })
  )
})
