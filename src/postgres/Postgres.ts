/**
 * The ports on PostgreSQL, over the application's `SqlClient`.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type * as Redacted from "effect/Redacted"
import { EventStore } from "../event/EventStore.js"
import { Directory } from "../identity/Directory.js"
import { DatabaseHealth } from "../operation/DatabaseHealth.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import { OperationLock } from "../operation/OperationLock.js"
import { OperationLog } from "../operation/OperationLog.js"
import type { Replica } from "../operation/Replica.js"
import { Transactor } from "../operation/Transactor.js"
import type { DatabaseError } from "../operation/OperationError.js"
import { databaseError } from "./client/PgError.js"
import * as PgDatabaseHealth from "./health/PgDatabaseHealth.js"
import * as PgDirectory from "./directory/PgDirectory.js"
import * as PgEventStore from "./events/PgEventStore.js"
import * as PgOperationLock from "./lock/PgOperationLock.js"
import * as PgOperationLog from "./log/PgOperationLog.js"
import type { TableOptions } from "./schema/PgSchema.js"
import * as PgSchema from "./schema/PgSchema.js"
import * as PgSql from "./client/PgSql.js"
import * as PgTransactor from "./transaction/PgTransactor.js"

/** How long opening a connection may take. */
const connectTimeout = "10 seconds"

/**
 * A client of our own on a server, for a command: at most two connections. A server that cannot be reached is a `DatabaseError`. Whoever is
 * interrupted while it connects does not wait for that.
 */
export const layerClient = (options: {
  readonly url: Redacted.Redacted
}): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, DatabaseError> =>
  PgClient.layer({ url: options.url, applicationName: "es-ops", maxConnections: 2, connectTimeout }).pipe(
    Layer.catchAll((error) => Layer.fail(databaseError("connecting to the database")(error))),
    abandonable
  )

/**
 * The same layer, whose building can be left: a client connects uninterruptibly. What is left goes on in a fiber of its own, and is closed
 * when it is there.
 */
export const abandonable = <A, E>(layer: Layer.Layer<A, E>): Layer.Layer<A, E> =>
  Layer.scopedContext(
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const outer = yield* Effect.scope
        const held = yield* Scope.make()
        const fiber = yield* Effect.forkDaemon(Layer.buildWithScope(layer, held))
        const services = yield* Effect.onError(restore(Fiber.join(fiber)), () =>
          Effect.forkDaemon(Effect.zipRight(Fiber.await(fiber), Scope.close(held, Exit.void)))
        )
        yield* Scope.addFinalizerExit(outer, (exit) => Scope.close(held, exit))
        return services
      })
    )
  )

/** All of them. `eventStore`: whether our own event tables are used, hence created. `tables`: those that features own. */
export const make = (
  options: TableOptions
): Effect.Effect<
  Context.Context<Transactor | OperationLock | OperationLog | DatabaseHealth | EventStore | Directory>,
  never,
  SqlClient.SqlClient | OperationConfig | Replica
> =>
  Effect.gen(function* () {
    const sql = yield* PgSql.make
    const schema = yield* Effect.provideService(PgSchema.make(options), PgSql.PgSql, sql)
    return yield* Effect.provide(adapters, Context.make(PgSql.PgSql, sql).pipe(Context.add(PgSchema.PgSchema, schema)))
  })

const adapters = Effect.gen(function* () {
  const log = yield* PgOperationLog.make
  return Context.make(OperationLog, log).pipe(
    Context.add(Transactor, yield* Effect.provideService(PgTransactor.make, OperationLog, log)),
    Context.add(OperationLock, yield* PgOperationLock.make),
    Context.add(DatabaseHealth, yield* PgDatabaseHealth.make),
    Context.add(EventStore, yield* PgEventStore.make),
    Context.add(Directory, yield* PgDirectory.make)
  )
})

/** The statements that create all tables, in order. */
export const ddl: typeof PgSchema.ddl = PgSchema.ddl
