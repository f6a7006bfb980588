/**
 * All services over a fresh database, in memory and on PostgreSQL: what the conformance suites run on.
 */
import { Effect, Layer } from "effect"
import type { Feature } from "effect-es-ops"
import { EsOps, Operation, OperationLock, Transactor } from "effect-es-ops"
import * as TransactionPooler from "./TransactionPooler.js"
import * as Database from "./TestDatabase.js"

/** In memory. */
export const memory = EsOps.layerMemory({ seeds: {} })

/** Creates the tables, as the first seed does. */
export const tables = Layer.effectDiscard(
  Effect.gen(function* () {
    const lock = yield* OperationLock.OperationLock
    const transactor = yield* Transactor.Transactor
    const claim = lock.claim(Operation.OperationId.make("create-the-tables"))
    yield* Transactor.run(transactor, claim, "create-the-tables")
  })
)

/** On a fresh database of the test server, its tables created: those of these features, or the bundled ones. */
export const postgresOf = (features?: ReadonlyArray<Feature.Feature<EsOps.Base>>) =>
  tables.pipe(
    Layer.provideMerge(EsOps.layer({ seeds: {}, features })),
    Layer.provideMerge(Database.client({ maxConnections: 12 })),
    Layer.provideMerge(Database.layer)
  )

/** The same with the bundled features. */
export const postgres = postgresOf()

/** In an embedded database, its tables created. */
export const embeddedOf = (features: ReadonlyArray<Feature.Feature<EsOps.Base>>) =>
  tables.pipe(Layer.provideMerge(EsOps.layer({ seeds: {}, features })), Layer.provideMerge(EsOps.layerEmbedded()))

/** On a fresh database of the test server, over three sessions that a pooler gives out a transaction at a time. */
export const pooled = tables.pipe(
  Layer.provideMerge(EsOps.layer({ seeds: {} })),
  Layer.provideMerge(
    Layer.unwrapScoped(
      Effect.gen(function* () {
        const { url } = yield* Database.TestDatabase
        const pooler = yield* Effect.acquireRelease(
          Effect.promise(() => TransactionPooler.start(url, 3)),
          ({ close }) => Effect.promise(close)
        )
        const behind = new URL(url)
        behind.port = `${pooler.port}`
        return Database.clientOf(behind.href, { maxConnections: 8 })
      })
    )
  ),
  Layer.provideMerge(Database.layer)
)
