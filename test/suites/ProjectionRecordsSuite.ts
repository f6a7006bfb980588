/**
 * What every record of projections does, and what the status makes of it.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Layer, Scope } from "effect"
import { Effect, Option } from "effect"
import type { EsOps, EventStore, Seed } from "effect-es-ops"
import {
  Feature,
  Projection,
  ProjectionRecords,
  ProjectionsCurrent,
  ProjectionStatus,
  SeedRunner,
  Transactor
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { event, seed } from "../support/Applying.js"

/** A feature with one projection that writes nothing, and its table. */
export const feature = (name: string, version: number) => {
  const table: Feature.Table = { name: `read_${name}`, columns: [{ name: "id", type: "uuid" }], primaryKey: ["id"] }
  const projection = Projection.make({
    name,
    events: [`${name}.came`],
    apply: () => Effect.void,
    tables: [table],
    version
  })
  return Feature.make({ name, handlers: [], projections: [projection], tables: [table] })
}

/** A process of an application on one database, which has applied its seeds: then its tables are there. */
export type Open = (
  features: ReadonlyArray<ReturnType<typeof feature>>,
  seeds: Readonly<Record<string, Seed.Seed<unknown, EventStore.EventStore>>>
) => Layer.Layer<EsOps.Services>

/** Applies a seed that appends this event, then looks at the status. */
export const after = (open: Open, features: ReadonlyArray<ReturnType<typeof feature>>, type = "other.came") =>
  Effect.zipRight(SeedRunner.apply({ appliedBy: "boot" }), ProjectionStatus.status).pipe(
    Effect.provide(open(features, { [randomUUID()]: seed(event(type)) })),
    Effect.map((entries) => entries.map(({ builtVersion, outdated }) => [builtVersion, outdated]))
  )

/** Changes the record in one transaction. */
const change = (effect: (records: ProjectionRecords.ProjectionRecords["Type"]) => Effect.Effect<void, unknown>) =>
  Effect.gen(function* () {
    const records = yield* ProjectionRecords.ProjectionRecords
    const transactor = yield* Transactor.Transactor
    yield* transactor.savepoint(effect(records))
  })

export const suite = <E>(name: string, world: Effect.Effect<Open, E, Scope.Scope>): void => {
  describe(`ProjectionRecords: ${name}`, () => {
    it.scopedLive(
      "count a new table as of its definition's version, and as outdated where its events came before it",
      () =>
        Effect.gen(function* () {
          const open = yield* world
          assert.deepStrictEqual(yield* after(open, [feature("a", 3)], "a.came"), [[3, false]])
          assert.deepStrictEqual(yield* after(open, [feature("a", 3)], "b.came"), [[3, false]])
          assert.deepStrictEqual(yield* after(open, [feature("a", 4), feature("b", 1), feature("c", 1)]), [
            [3, true],
            [0, true],
            [1, false]
          ])
          assert.deepStrictEqual(yield* after(open, [feature("a", 2)]), [[3, false]])
        })
    )

    it.scopedLive("know the version, the date and the run of the last rebuild, and what was outdated since", () =>
      Effect.gen(function* () {
        const open = yield* world
        yield* after(open, [feature("a", 1), feature("b", 1)], "c.came")
        const features = [feature("a", 2), feature("b", 2), feature("c", 1)]
        const runId = randomUUID()
        yield* Effect.gen(function* () {
          yield* after(open, features)
          yield* change((records) =>
            records.built(
              [
                { name: "a", version: 2 },
                { name: "b", version: 2 }
              ],
              runId
            )
          )
          yield* change((records) => records.outdate(["b", "d"]))
          const undone = change((records) => Effect.zipRight(records.outdate(["a"]), Effect.fail("undone")))
          assert.strictEqual(yield* Effect.flip(undone), "undone")
          const [a, b, c] = yield* ProjectionStatus.status
          assert.deepInclude(a, { name: "a", tables: ["read_a"], version: 2, builtVersion: 2, outdated: false })
          assert.isTrue(Option.isSome(a?.lastRebuild ?? Option.none()))
          assert.deepInclude(b, { builtVersion: 0, outdated: true, lastRebuild: a?.lastRebuild ?? Option.none() })
          assert.deepInclude(c, { builtVersion: 0, outdated: true, lastRebuild: Option.none(), run: Option.none() })
          const [record] = yield* (yield* ProjectionRecords.ProjectionRecords).of([
            { name: "a", version: 2, tables: [], events: [] }
          ])
          assert.deepStrictEqual(
            Option.map(record?.lastRebuild ?? Option.none(), (last) => last.runId),
            Option.some(runId)
          )
        }).pipe(Effect.provide(open(features, {})))
      })
    )

    it.scopedLive("let the proof that none is outdated be built, or not", () =>
      Effect.gen(function* () {
        const open = yield* world
        yield* after(open, [feature("a", 1)])
        const proof = <R>(
          layer: Layer.Layer<ProjectionsCurrent.ProjectionsCurrent, ProjectionsCurrent.VerifyError, R>
        ) => Effect.map(ProjectionsCurrent.ProjectionsCurrent, ({ by }) => by).pipe(Effect.provide(layer))
        yield* Effect.gen(function* () {
          const outdated = yield* Effect.flip(proof(ProjectionsCurrent.layerVerify))
          assert.deepInclude(outdated, { _tag: "ProjectionsOutdated", names: ["a"] })
          assert.strictEqual(yield* proof(ProjectionsCurrent.layerOff), "off")
          const waiting = yield* Effect.fork(proof(ProjectionsCurrent.layerWait))
          yield* Effect.yieldNow()
          yield* change((records) => records.built([{ name: "a", version: 2 }], randomUUID()))
          assert.strictEqual(yield* waiting, "verified")
        }).pipe(Effect.provide(open([feature("a", 2)], {})))
      })
    )
  })
}
