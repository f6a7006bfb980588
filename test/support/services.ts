/**
 * All services over a fresh database, in memory and on PostgreSQL: what the conformance suites run on.
 */
import { Effect, Layer } from "effect"
import { EsOps, Operation, OperationLock, Transactor } from "effect-es-ops"
import * as Database from "./TestDatabase.js"

/** In memory. */
export const memory = EsOps.layerMemory({ seeds: {} })

/** On a fresh database of the test server, its tables created. */
export const postgres = Layer.effectDiscard(
  Effect.gen(function* () {
    const lock = yield* OperationLock.OperationLock
    const transactor = yield* Transactor.Transactor
    const claim = lock.claim(Operation.OperationId.make("create-the-tables"))
    yield* Transactor.run(transactor, claim, "create-the-tables")
  })
).pipe(
  Layer.provideMerge(EsOps.layer({ seeds: {} })),
  Layer.provideMerge(Database.client({ maxConnections: 12 })),
  Layer.provideMerge(Database.layer)
)
