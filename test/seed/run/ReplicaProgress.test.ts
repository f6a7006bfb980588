/**
 * What is expected of others that are at work, by two looks at what they have done.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, FastCheck } from "effect"
import * as ReplicaProgress from "../../../src/seed/run/ReplicaProgress.js"

const ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
const applied = (count: number) => new Map(ids.slice(0, count).map((id) => [id, "seed-migration"]))
const looked = (count: number, at: number, before = ReplicaProgress.unseen(0)) =>
  ReplicaProgress.seen(before, applied(count), at, ids)

describe("another look at what others do", () => {
  it("is worth it when the rest is done, if they go on as before", () => {
    const first = looked(4, 200)
    assert.deepInclude(first, { done: 4, next: 300 })
    assert.deepInclude(looked(9, 700, first), { done: 9, next: 100 })
  })

  it("is not put off for longer than half a second, and not made at once", () => {
    assert.strictEqual(looked(1, 1_000).next, 500)
    assert.strictEqual(looked(9, 90).next, 50)
  })

  it("is put off where nothing was done since, and where more is gone than was done", () => {
    const first = looked(4, 200)
    assert.strictEqual(looked(4, 300, first).next, 500)
    assert.strictEqual(looked(2, 300, first).next, 500)
  })

  it("is made soon where nothing is left, or was seen yet", () => {
    assert.strictEqual(looked(10, 1_000).next, 50)
    assert.strictEqual(ReplicaProgress.unseen(0).next, 50)
  })

  it("is put off when an attempt at the lock took long, by twice that, and not for longer than half a second", () => {
    const waits = [0, 20, 40, 200, 9_000].map((took) => Duration.toMillis(ReplicaProgress.delayed(50, took)))
    assert.deepStrictEqual(waits, [50, 50, 80, 400, 500])
    assert.strictEqual(Duration.toMillis(ReplicaProgress.delayed(300, 40)), 300)
  })

  it("is within its bounds, in whole milliseconds, whatever was seen and whatever the clock said", () => {
    const look = FastCheck.tuple(FastCheck.nat(ids.length), FastCheck.integer({ min: -1_000, max: 10_000 }))
    FastCheck.assert(
      FastCheck.property(look, look, ([count, at], [then, later]) => {
        const { next } = looked(then, later, looked(count, at))
        assert.isTrue(Number.isInteger(next) && next >= 50 && next <= 500)
      })
    )
  })
})
