/**
 * The record of projections in memory, on PostgreSQL and embedded.
 */
import { Effect, Layer } from "effect"
import { EsOps, MemoryDatabase } from "effect-es-ops"
import * as ProjectionRecordsSuite from "../suites/ProjectionRecordsSuite.js"
import * as Database from "../support/TestDatabase.js"

ProjectionRecordsSuite.suite(
  "memory",
  Effect.map(
    MemoryDatabase.MemoryDatabase,
    (database): ProjectionRecordsSuite.Open =>
      (features, seeds) =>
        Layer.orDie(EsOps.layerMemory({ seeds, features, database }))
  ).pipe(Effect.provide(MemoryDatabase.layer))
)

ProjectionRecordsSuite.suite(
  "PostgreSQL",
  Effect.map(
    Layer.build(Database.layer),
    (database): ProjectionRecordsSuite.Open =>
      (features, seeds) =>
        Layer.orDie(EsOps.layer({ seeds, features })).pipe(
          Layer.provide(Database.client()),
          Layer.provide(Layer.succeedContext(database))
        )
  )
)
