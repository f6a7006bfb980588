/**
 * Seeds in batches, in memory and on PostgreSQL: each row once, whatever fails in between.
 */
import type { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Effect, Layer, Option, Ref } from "effect"
import {
  EsOps,
  MemoryDatabase,
  Observer,
  OperationLog,
  RunLog,
  Seed,
  SeedLedger,
  SeedRunner,
  SeedStatus
} from "effect-es-ops"
import { keysOf, logged, seed, summary, tenant } from "../../support/Runs.js"
import * as Database from "../../support/TestDatabase.js"

type Seeds = Readonly<Record<string, Seed.Seed<unknown, SqlClient.SqlClient>>>

/** A database, and what works with these seeds on it, a process each. */
type World = Effect.Effect<
  <A, E>(seeds: Seeds, work: Effect.Effect<A, E, EsOps.Services>) => Effect.Effect<A, unknown>,
  never,
  Scope.Scope
>

const memory: World = Effect.map(
  Effect.provide(MemoryDatabase.MemoryDatabase, MemoryDatabase.layer),
  (database) => (seeds, work) =>
    Effect.provide(
      work,
      EsOps.layerMemory({ seeds: seeds as Readonly<Record<string, Seed.Seed>>, database, lockTimeout: "2 seconds" })
    )
)

const server: World = Effect.gen(function* () {
  const services = yield* Layer.build(Layer.provideMerge(Database.client(), Database.layer))
  return (seeds, work) =>
    Effect.provide(
      work,
      Layer.provide(EsOps.layer({ seeds, lockTimeout: "2 seconds" }), Layer.succeedContext(services))
    )
})

/** Tenants of these keys, two a batch. */
const tenants = (
  keys: ReadonlyArray<string>,
  check: (key: string) => Effect.Effect<unknown, string> = () => Effect.void,
  description = "tenants"
) =>
  Seed.batched({
    description,
    size: 2,
    source: (after) =>
      Effect.succeed(
        keys
          .filter((key) => Option.match(after, { onNone: () => true, onSome: (last) => key > last }))
          .map((key) => ({ key }))
      ),
    count: Effect.succeed(keys.length),
    process: (rows, context) =>
      Effect.forEach(rows, ({ key }) =>
        Effect.zipRight(context.systemWriteAs("tenant:write:create", { key, name: key }), check(key))
      )
  })

const five = ["a", "b", "c", "d", "e"]

const failingAt = (last: string) => tenants(five, (key) => (key === last ? Effect.fail(`no ${last}`) : Effect.void))

const apply = (more: Partial<SeedRunner.ApplyOptions> = {}) =>
  SeedRunner.apply({ appliedBy: "boot", observer: Observer.silent, ...more })

const stateOf = (id: string) =>
  Effect.map(SeedStatus.status, ({ seeds }) => {
    const found = seeds.find((one) => one.id === id)
    return [found?.state, Option.getOrUndefined(Option.map(found?.progress ?? Option.none(), ({ done }) => done))]
  })

for (const [name, world] of [
  ["memory", memory],
  ["PostgreSQL", server]
] as const)
  describe(`a seed in batches: ${name}`, () => {
    it.scopedLive("does each row once, tells how far it is, and has its marker with the last batch", () =>
      Effect.gen(function* () {
        const using = yield* world
        const seeds = { "1": tenants(five), "2": seed(tenant("z")) }
        const seen = yield* Ref.make<ReadonlyArray<unknown>>([])
        const observer: Observer.Observer = {
          ...Observer.silent,
          progress: (id, { done, total }) => Ref.update(seen, (all) => [...all, [id, done, Option.getOrNull(total)]])
        }
        yield* using(
          seeds,
          Effect.gen(function* () {
            const report = yield* apply({ observer, pauseBetween: "1 millis" })
            assert.deepStrictEqual(summary(report), [
              ["Applied", "1"],
              ["Applied", "2"]
            ])
            assert.deepInclude(report.outcomes[0], { events: 5 })
            assert.deepStrictEqual(yield* keysOf, [...five, "z"])
            const log = yield* OperationLog.OperationLog
            assert.deepStrictEqual(
              (yield* log.markers).map(({ id, notes }) => [String(id), Option.getOrNull(notes)]),
              [
                ["1", "tenants"],
                ["2", "a seed"]
              ]
            )
            assert.deepStrictEqual(summary(yield* apply()), [])
            assert.deepStrictEqual(yield* Effect.flatMap(RunLog.RunLog, (runs) => runs.unfinished), [])
          })
        )
        assert.deepStrictEqual(yield* Ref.get(seen), [
          ["1", 2, 5],
          ["1", 4, 5],
          ["1", 5, 5]
        ])
      })
    )

    it.scopedLive("keeps the batches before one that fails, stops what is behind it, and goes on there", () =>
      Effect.gen(function* () {
        const using = yield* world
        const others = { "2": seed(tenant("z")) }
        const failed = yield* Effect.flip(using({ "1": failingAt("d"), ...others }, apply()))
        assert.deepInclude(failed, { _tag: "SeedFailed", id: "1", notAttempted: ["2"] })
        yield* using(
          { "1": tenants(five), ...others },
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* keysOf, ["a", "b"])
            const log = yield* OperationLog.OperationLog
            assert.deepStrictEqual(
              (yield* log.attempts({})).map(({ outcome }) => outcome),
              ["failed"]
            )
            assert.deepStrictEqual(yield* stateOf("1"), ["interrupted", 2])
            const [report] = (yield* apply()).outcomes
            assert.deepInclude(report, { _tag: "Applied", events: 5 })
            assert.deepStrictEqual(yield* keysOf, [...five, "z"])
          })
        )
      })
    )

    it.scopedLive("is begun anew with restart, forgotten by unmark and mark, and renamed by rename", () =>
      Effect.gen(function* () {
        const using = yield* world
        const other = ["f", "g", "h"]
        const change = { appliedBy: "cli", reason: "why" } as const
        yield* Effect.flip(using({ "1": failingAt("d") }, apply()))
        yield* using(
          { "2": tenants(other) },
          Effect.gen(function* () {
            assert.deepInclude(yield* SeedLedger.rename({ ...change, from: "1", to: "2" }), { changed: true })
            assert.strictEqual((yield* stateOf("2"))[1], 2)
            assert.deepInclude(yield* SeedLedger.unmark({ ...change, id: "2" }), { changed: true })
            assert.deepStrictEqual(yield* stateOf("2"), ["pending", undefined])
          })
        )
        yield* Effect.flip(
          using({ "2": tenants(other, (key) => (key === "h" ? Effect.fail("no") : Effect.void)) }, apply())
        )
        const more = ["f2", "g2", "h2"]
        yield* using(
          { "2": tenants(more) },
          Effect.gen(function* () {
            assert.strictEqual((yield* stateOf("2"))[1], 2)
            yield* apply({ restart: "2" })
            assert.deepStrictEqual(yield* keysOf, ["a", "b", "f", "g", ...more])
            assert.deepInclude(yield* SeedLedger.unmark({ ...change, id: "2" }), { changed: true })
          })
        )
      })
    )

    it.scopedLive("is tried with its next batch alone in a dry run, of which nothing remains", () =>
      Effect.gen(function* () {
        const using = yield* world
        yield* using(
          { "1": tenants(five) },
          Effect.gen(function* () {
            const { lines, result } = yield* logged(SeedRunner.dryRun({ appliedBy: "cli", observer: Observer.silent }))
            assert.deepInclude(result.outcomes[0], { _tag: "Applied", events: 2 })
            assert.include(
              lines.join("\n"),
              "only the next one was run, of 2 rows, and not what follows: there are 5 rows"
            )
            assert.deepStrictEqual(yield* stateOf("1"), ["pending", undefined])
          })
        )
      })
    )

    it.scopedLive("refuses a source that gives the same rows again, and rows without a key", () =>
      Effect.gen(function* () {
        const using = yield* world
        const stuck = Seed.batched({
          description: "",
          source: () => Effect.succeed([{ key: 1 }]),
          process: () => Effect.void
        })
        const failed = yield* Effect.flip(using({ "1": stuck }, apply()))
        assert.include(String(failed), "gave the row of key 1 again")
        const keyless = Seed.batched({
          description: "",
          source: () => Effect.succeed([{ id: 1 }]),
          process: () => Effect.void
        })
        assert.include(String(yield* Effect.flip(using({ "2": keyless }, apply()))), "without a key")
      })
    )
  })

describe("a seed in batches", () => {
  it("stops the runner of another system, which would take it for done", () => {
    const { run } = tenants(five)
    // @ts-expect-error the context of another runner has functions only
    assert.throws(() => run({ systemWriteAs: () => Promise.resolve() }), /made by Seed\.batched of effect-es-ops/)
  })
})
