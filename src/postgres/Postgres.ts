/**
 * The ports on PostgreSQL, over the application's `SqlClient`.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { BackfillStore } from "../backfill/BackfillStore.js"
import { EventFeed } from "../event/EventFeed.js"
import { EventStore } from "../event/EventStore.js"
import { ProjectionRecords } from "../event/ProjectionRecords.js"
import { ReadTables } from "../event/ReadTables.js"
import { Snapshots } from "../event/Snapshots.js"
import { Directory } from "../identity/Directory.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Replica } from "../operation/Replica.js"
import { RunLog } from "../operation/RunLog.js"
import { Deliveries } from "../replay/Deliveries.js"
import { SnapshotRows } from "../snapshot/SnapshotRows.js"
import * as PgBackfillStore from "./backfill/PgBackfillStore.js"
import { RebuildStore } from "../projection/RebuildStore.js"
import { ArchiveMarks } from "../stream/ArchiveMarks.js"
import { StreamMoves } from "../stream/StreamMoves.js"
import { StreamPurges } from "../stream/StreamPurges.js"
import * as ClientLayer from "./client/ClientLayer.js"
import * as PgDirectory from "./directory/PgDirectory.js"
import * as PgEventStore from "./events/PgEventStore.js"
import * as PgEventFeed from "./feed/PgEventFeed.js"
import * as PgProjectionRecords from "./projections/PgProjectionRecords.js"
import * as PgRebuildStore from "./rebuild/PgRebuildStore.js"
import * as PgReadTables from "./readtables/PgReadTables.js"
import * as PgDeliveries from "./replay/PgDeliveries.js"
import * as PgRunLog from "./runs/PgRunLog.js"
import * as PgArchiveMarks from "./streams/PgArchiveMarks.js"
import * as PgStreamMoves from "./streams/PgStreamMoves.js"
import * as PgStreamPurges from "./streams/PgStreamPurges.js"
import type { TableOptions } from "./schema/PgSchema.js"
import * as PgSchema from "./schema/PgSchema.js"
import * as RecordPorts from "./RecordPorts.js"
import * as PgSnapshotRows from "./snapshots/PgSnapshotRows.js"
import * as PgSnapshots from "./snapshots/PgSnapshots.js"
import * as PgSql from "./client/PgSql.js"

/** A client of our own on a server, for a command: at most two connections. */
export const layerClient: typeof ClientLayer.server = ClientLayer.server

/** All of them. `eventStore`: whether our own event tables are used, hence created. `tables`: those that features own. */
export const make = (
  options: TableOptions
): Effect.Effect<
  Context.Context<
    | RecordPorts.Ports
    | RunLog
    | EventStore
    | EventFeed
    | ReadTables
    | ProjectionRecords
    | Snapshots
    | SnapshotRows
    | Deliveries
    | BackfillStore
    | RebuildStore
    | ArchiveMarks
    | StreamMoves
    | StreamPurges
    | Directory
  >,
  never,
  SqlClient.SqlClient | OperationConfig | Replica | Scope.Scope
> => Effect.flatMap(RecordPorts.ground(options), (found) => Effect.provide(adapters, found))

const adapters = Effect.gen(function* () {
  const ports = yield* RecordPorts.adapters
  const feed = yield* PgEventFeed.make
  const events = yield* PgEventStore.make
  const records = yield* PgProjectionRecords.make
  const read = Context.make(EventStore, events).pipe(
    Context.add(EventFeed, feed),
    Context.add(ProjectionRecords, records)
  )
  return ports.pipe(
    Context.merge(read),
    Context.add(RunLog, yield* Effect.provide(PgRunLog.make, ports)),
    Context.add(RebuildStore, yield* Effect.provide(PgRebuildStore.make, read)),
    Context.add(ReadTables, yield* PgReadTables.make),
    Context.add(Snapshots, yield* Effect.provide(PgSnapshots.make, ports)),
    Context.add(SnapshotRows, yield* PgSnapshotRows.make),
    Context.add(Deliveries, yield* PgDeliveries.make),
    Context.add(BackfillStore, yield* PgBackfillStore.make),
    Context.add(ArchiveMarks, yield* PgArchiveMarks.make),
    Context.add(StreamMoves, yield* PgStreamMoves.make),
    Context.add(StreamPurges, yield* PgStreamPurges.make),
    Context.add(Directory, yield* PgDirectory.make)
  )
})

/** The statements that create all tables, in order. */
export const ddl: typeof PgSchema.ddl = PgSchema.ddl

/** The statements that give a role what applying needs, for tables that are there. */
export const grants: typeof PgSchema.grants = PgSchema.grants

/** The statements that the database lacks of `ddl`, and those that change what is otherwise; none where it is complete. */
export const difference = (
  config: OperationConfig["Type"],
  options: TableOptions
): Effect.Effect<ReadonlyArray<string>, DatabaseError, SqlClient.SqlClient> =>
  Effect.scoped(Effect.flatMap(PgSql.make, (sql) => PgSchema.difference(sql, config, options)))
