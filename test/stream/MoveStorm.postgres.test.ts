/**
 * Moves back and forth under writers of both tenants, interrupted at random points.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Random, Ref } from "effect"
import { StreamMove } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { order, shop } from "../suites/ArchiveSuite.js"
import { postgresOf } from "../support/services.js"
import { TestDatabase } from "../support/TestDatabase.js"
import * as MoveWriters from "./MoveWriters.js"

layer(postgresOf([shop]), { excludeTestServices: true })("moves under writers", (it) => {
  it.effect("keep every acknowledged event once, in versions without a gap, wherever they are interrupted", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const [a, b] = [randomUUID(), randomUUID()]
      const streams = yield* Effect.forEach(Array.from({ length: 4 }), () => order(["order.placed"], { tenantId: a }))
      const ids = streams.map(({ aggregateId }) => aggregateId)
      const over = yield* Ref.make(false)
      const writers = yield* Effect.forEach(MoveWriters.kinds, ([isolation, insert]) =>
        Effect.gen(function* () {
          const client = yield* Effect.promise(connect)
          const acknowledged: Array<string> = []
          while (!(yield* Ref.get(over))) {
            const id = ids[yield* Random.nextIntBetween(0, ids.length)] ?? ""
            acknowledged.push(...(yield* Effect.promise(() => MoveWriters.write(client, isolation, insert, id))))
          }
          return acknowledged
        }).pipe(Effect.fork)
      )
      let [from, to] = [a, b]
      for (let round = 0; round < 3; round++) {
        const moves = ids.map((aggregateId) => ({ aggregateId, from, to }))
        const interrupted = yield* Effect.fork(StreamMove.run({ moves, merge: true }))
        // So many round trips later: the run is anywhere between its beginning and its end.
        for (let trips = yield* Random.nextIntBetween(0, 10); trips > 0; trips--)
          yield* Effect.promise(() => query("SELECT 1"))
        yield* Fiber.interrupt(interrupted)
        yield* StreamMove.run({ moves, merge: true })
        ;[from, to] = [to, from]
      }
      yield* Ref.set(over, true)
      const acknowledged = (yield* Fiber.joinAll(writers)).flat()
      const rows = yield* Effect.promise(() =>
        query(
          "SELECT aggregate_id, tenant_id, version, payload->>'n' AS n FROM kumiko_events WHERE aggregate_id = ANY($1)",
          [ids]
        )
      )
      const found = rows.flatMap(({ n }) => (typeof n === "string" ? [n] : []))
      assert.isAbove(acknowledged.length, 20)
      assert.strictEqual(new Set(found).size, found.length, "an event is there twice")
      assert.deepStrictEqual(
        acknowledged.filter((n) => !found.includes(n)),
        [],
        "an acknowledged event is gone"
      )
      for (const id of ids) {
        const versions = rows
          .filter((row) => row["aggregate_id"] === id)
          .map(({ tenant_id, version }) => [String(tenant_id), Number(version)] as const)
          .toSorted((one, other) => one[1] - other[1])
        assert.deepStrictEqual(
          versions,
          versions.map((_, at) => [from, at + 1] as const)
        )
      }
    })
  )
})
