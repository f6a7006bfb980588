/**
 * The ports on PostgreSQL, over the application's `SqlClient`.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type { EventStore } from "../event/EventStore.js"
import type { Table } from "../event/Feature.js"
import type { Directory } from "../identity/Directory.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { OperationLock } from "../operation/OperationLock.js"
import type { OperationLog } from "../operation/OperationLog.js"
import type { Replica } from "../operation/Replica.js"
import type { Transactor } from "../operation/Transactor.js"
import type { DatabaseError } from "../operation/OperationError.js"
import { databaseError } from "./PgError.js"
import * as PgDirectory from "./PgDirectory.js"
import * as PgEventStore from "./PgEventStore.js"
import * as PgOperationLock from "./PgOperationLock.js"
import * as PgOperationLog from "./PgOperationLog.js"
import * as PgSchema from "./PgSchema.js"
import * as PgSql from "./PgSql.js"
import * as PgTransactor from "./PgTransactor.js"

/** How long opening a connection may take. */
const connectTimeout = "10 seconds"

/** A client of our own on a server, for a command: at most two connections. A server that cannot be reached is a `DatabaseError`. */
export const layerClient = (options: {
  readonly url: Redacted.Redacted
}): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, DatabaseError> =>
  PgClient.layer({ url: options.url, applicationName: "es-ops", maxConnections: 2, connectTimeout }).pipe(
    Layer.catchAll((error) => Layer.fail(databaseError("connecting to the database")(error)))
  )

/** `eventStore`: whether our own event tables are used, hence created. `tables`: those that features own. */
export const layer = (options: {
  readonly eventStore: boolean
  readonly tables: ReadonlyArray<Table>
}): Layer.Layer<
  Transactor | OperationLock | OperationLog | EventStore | Directory,
  never,
  SqlClient.SqlClient | OperationConfig | Replica
> =>
  Layer.mergeAll(
    PgTransactor.layer,
    PgOperationLock.layer,
    PgOperationLog.layer,
    PgEventStore.layer,
    PgDirectory.layer
  ).pipe(Layer.provide(PgSchema.layer(options)), Layer.provide(PgSql.layer))
