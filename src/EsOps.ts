/**
 * The front door has all layers for an application, or for a test without a database, and the settings of the command.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { pid } from "node:process"
import type { BackfillStore } from "./backfill/BackfillStore.js"
import * as MemoryBackfillStore from "./backfill/memory/MemoryBackfillStore.js"
import type { EventFeed } from "./event/EventFeed.js"
import * as ArchivingStore from "./event/ArchivingStore.js"
import { EventStore } from "./event/EventStore.js"
import * as MemoryEventFeed from "./event/memory/MemoryEventFeed.js"
import * as MemoryEventStore from "./event/memory/MemoryEventStore.js"
import * as MemoryProjectionRecords from "./event/memory/MemoryProjectionRecords.js"
import * as MemoryReadTables from "./event/memory/MemoryReadTables.js"
import * as MemorySnapshots from "./event/memory/MemorySnapshots.js"
import type * as Feature from "./event/Feature.js"
import * as Features from "./event/Features.js"
import type { ProjectionRecords } from "./event/ProjectionRecords.js"
import * as Records from "./event/ProjectionRecords.js"
import type { ReadTables } from "./event/ReadTables.js"
import type { Snapshots } from "./event/Snapshots.js"
import { WriteDispatcher } from "./event/WriteDispatcher.js"
import * as WriteSavepoint from "./event/WriteSavepoint.js"
import * as HandlerDispatcher from "./event/HandlerDispatcher.js"
import type { Directory } from "./identity/Directory.js"
import * as Identity from "./identity/Identity.js"
import * as MemoryDirectory from "./identity/memory/MemoryDirectory.js"
import * as MemoryDatabase from "./operation/memory/MemoryDatabase.js"
import type { SettingError, OperationSettings } from "./operation/OperationConfig.js"
import * as OperationConfig from "./operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "./operation/OperationError.js"
import * as MemoryHealth from "./operation/memory/MemoryHealth.js"
import * as MemoryLock from "./operation/memory/MemoryLock.js"
import * as MemoryLog from "./operation/memory/MemoryLog.js"
import * as MemoryRunLog from "./operation/memory/MemoryRunLog.js"
import * as MemoryStepCursor from "./operation/memory/MemoryStepCursor.js"
import * as MemoryTransactor from "./operation/memory/MemoryTransactor.js"
import type { RunLanes } from "./operation/RunLanes.js"
import type { RunLog } from "./operation/RunLog.js"
import { Transactor } from "./operation/Transactor.js"
import * as MemoryRebuildStore from "./projection/memory/MemoryRebuildStore.js"
import type { RebuildStore } from "./projection/RebuildStore.js"
import * as Replica from "./operation/Replica.js"
import * as RunPause from "./operation/RunPause.js"
import type { EmbeddedInUse } from "./postgres/embedded/EmbeddedLock.js"
import * as Pglite from "./postgres/embedded/Pglite.js"
import * as Postgres from "./postgres/Postgres.js"
import type { Deliveries } from "./replay/Deliveries.js"
import * as MemoryDeliveries from "./replay/memory/MemoryDeliveries.js"
import type * as Seed from "./seed/Seed.js"
import type { Requirements } from "./seed/run/SeedRunner.js"
import * as SeedListing from "./seed/source/SeedListing.js"
import * as SeedSource from "./seed/source/SeedSource.js"
import * as MemorySnapshotRows from "./snapshot/memory/MemorySnapshotRows.js"
import type { SnapshotRows } from "./snapshot/SnapshotRows.js"
import type { ArchiveMarks } from "./stream/ArchiveMarks.js"
import type { StreamMoves } from "./stream/StreamMoves.js"
import type { StreamPurges } from "./stream/StreamPurges.js"
import * as MemoryArchiveMarks from "./stream/memory/MemoryArchiveMarks.js"
import * as MemoryStreamMoves from "./stream/memory/MemoryStreamMoves.js"
import * as MemoryStreamPurges from "./stream/memory/MemoryStreamPurges.js"

/** The settings of an application; all but `seeds` are optional. */
export interface Settings<
  out F extends Feature.Feature = Feature.Feature,
  out S extends SeedSource.Recorded = SeedSource.Recorded,
  out E = unknown,
  out R = unknown
> extends OperationSettings {
  /** A folder of seeds, resolved against the working directory; or seeds by their ids. */
  readonly seeds: string | Readonly<Record<string, S>>
  /** The features whose handlers seeds write through, and whose projections run with them. Default: `Identity.feature`. */
  readonly features?: ReadonlyArray<F> | undefined
  /** An application's own dispatcher, in place of features; no event tables are created then. */
  readonly dispatcher?: Layer.Layer<WriteDispatcher, E, R> | undefined
}

/** The services that the layers provide: what seeds and other operations require, the event store with its feed, the tables, and the features. */
export type Services =
  | Requirements
  | EventStore
  | EventFeed
  | RunLog
  | ReadTables
  | ProjectionRecords
  | RebuildStore
  | Features.Features
  | Snapshots
  | SnapshotRows
  | Deliveries
  | BackfillStore
  | ArchiveMarks
  | StreamMoves
  | StreamPurges

/** The services that features and seeds find here, and need not bring. */
export type Base = Exclude<Services, Entrance>

/** The services that are made of seeds and features. */
type Entrance = SeedSource.SeedSource | WriteDispatcher | Features.Features

/** The services that features, seeds and an own dispatcher require. */
export type Needs<F, S, R> = Feature.Context<F> | Seed.Services<S> | R

/**
 * Provides everything on PostgreSQL, over the application's own `SqlClient`. Services that seeds or features require are taken from the
 * context. A setting that cannot be used is a `SettingError`.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Effect, Layer } from "effect"
 * import { EsOps, SeedsApplied } from "effect-es-ops"
 *
 * const PgLive = PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })
 *
 * const OpsLive = EsOps.layer({ seeds: "./seeds" }).pipe(Layer.provide(PgLive))
 *
 * const program = Effect.zipRight(SeedsApplied.SeedsApplied, Effect.log("every seed is applied"))
 *
 * export const main = program.pipe(Effect.provide(SeedsApplied.layer), Effect.provide(OpsLive))
 * ```
 */
export const layer = <F extends Feature.Feature = never, S extends SeedSource.Recorded = never, E = never, R = never>(
  settings: Settings<F, S, E, R>
): Layer.Layer<Services, SettingError | E, SqlClient.SqlClient | Exclude<Needs<F, S, R>, Base>> => {
  const base = Effect.gen(function* () {
    const config = yield* OperationConfig.make(settings)
    const own = Context.make(OperationConfig.OperationConfig, config).pipe(
      Context.add(Replica.Replica, Replica.current())
    )
    const ports = Context.merge(own, yield* Effect.provide(Postgres.make(tablesOf(settings)), own))
    return Context.add(ports, EventStore, yield* Effect.provide(archivingStore(settings), ports))
  })
  // A boot makes all of it, and one layer is made in fewer operations than some that are put together.
  return settings.dispatcher === undefined
    ? Layer.scopedContext(
        Effect.flatMap(base, (found) =>
          Effect.map(Effect.provide(entrance(settings), found), (made) => Context.merge(found, made))
        )
      )
    : Layer.provideMerge(entranceWith(settings, settings.dispatcher), Layer.scopedContext(base))
}

/**
 * Provides the same, with settings that come from the application's configuration. A variable that is missing or cannot be read is Effect's
 * `ConfigError`, a value that cannot be used a `SettingError` that names its key.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { EsOps } from "effect-es-ops"
 *
 * export const OperationsLive = EsOps.layerConfig(
 *   Config.map(Config.duration("SEED_LOCK_TIMEOUT"), (lockTimeout) => ({ seeds: "./seeds", lockTimeout }))
 * )
 * ```
 */
export const layerConfig = <
  F extends Feature.Feature = never,
  S extends SeedSource.Recorded = never,
  E = never,
  R = never
>(
  settings: Config.Config<Settings<F, S, E, R>>
): Layer.Layer<
  Services,
  SettingError | ConfigError.ConfigError | E,
  SqlClient.SqlClient | Exclude<Needs<F, S, R>, Base>
> => Layer.unwrapEffect(Effect.map(settings, (read) => layer(read)))

/**
 * Provides a client on a server, for programs that bring none: at most two connections. `url` may be that of a socket
 * (`postgres://u@/db?host=/folder`). A server that cannot be reached is a `DatabaseError`; a URL that cannot be read, or has a parameter that the
 * driver would ignore (`schema`, `currentSchema`, `search_path`), is a `SettingError`.
 */
export const layerClient: (options: {
  readonly url: Redacted.Redacted
  /** The most connections: a rebuild in lanes needs one for each, and one for its lease. Default: 2. */
  readonly connections?: number | undefined
}) => Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, DatabaseError | SettingError> = Postgres.layerClient

/** The statements that create every table that the settings need, in order, for an administrator to run. */
export const ddl = (settings: Partial<Settings>): Effect.Effect<ReadonlyArray<string>, SettingError> =>
  Effect.map(OperationConfig.make(settings), (config) => Postgres.ddl(config, tablesOf(settings)))

/** The statements that give a role what applying needs, for an administrator to run once the tables are there. */
export const grants = (settings: Partial<Settings>, role: string): Effect.Effect<ReadonlyArray<string>, SettingError> =>
  Effect.map(OperationConfig.make(settings), (config) => Postgres.grants(config, tablesOf(settings), role))

/**
 * The statements that the database lacks of `ddl`, and those that change columns and indexes which are otherwise; none where it is complete.
 * Nothing is written. What only a person can decide is a comment among them.
 */
export const difference = (
  settings: Partial<Settings>
): Effect.Effect<ReadonlyArray<string>, SettingError | LockTimeout | DatabaseError, SqlClient.SqlClient> =>
  Effect.flatMap(OperationConfig.make(settings), (config) =>
    Effect.mapError(Postgres.difference(config, tablesOf(settings)), RunPause.asTimeout)
  )

/**
 * Provides a client on an embedded database, for development and tests: no server, no fsync. In a `folder` it is for one process at a time; the
 * folder is created if it is missing, and while another process has it open, it waits as long as `lockTimeout`, then fails with `EmbeddedInUse`.
 * Without a folder it is in memory and empty each time: the first is opened in seconds, and is emptied and used again for those that follow.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { EsOps, SeedRunner } from "effect-es-ops"
 *
 * const Test = EsOps.layer({ seeds: "./seeds" }).pipe(Layer.provideMerge(EsOps.layerEmbedded()))
 *
 * export const test = SeedRunner.apply({ appliedBy: "boot" }).pipe(Effect.provide(Test))
 * ```
 */
export const layerEmbedded = ({
  folder,
  lockTimeout = "5 minutes"
}: {
  readonly folder?: string | undefined
  readonly lockTimeout?: Duration.DurationInput | undefined
} = {}): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, EmbeddedInUse | DatabaseError> =>
  folder === undefined ? Pglite.layerMemory : Pglite.layer({ folder, lockTimeout })

export { verifiedBackfill } from "./VerifiedBackfill.js"
export type { Verification, VerifiedBackfill } from "./VerifiedBackfill.js"

export { EmbeddedInUse } from "./postgres/embedded/EmbeddedLock.js"

/** The settings in the command's file `es-ops.config.ts`, all optional. Options and the environment win. */
export interface CommandSettings<
  F extends Feature.Feature = Feature.Feature,
  S extends SeedSource.Recorded = SeedSource.Recorded,
  E = unknown,
  R = unknown
> extends Partial<Settings<F, S, E, R>> {
  readonly databaseUrl?: string | undefined
  readonly appliedBy?: "cli" | "ci-pipeline" | undefined
  /** The application's services, for seeds, features and the dispatcher; it is given the command's client. */
  readonly layer?: Layer.Layer<never, unknown, CommandClient> | undefined
  /** Where lanes are worked on with `--cluster`: `layerCluster` over the application's cluster, joined as a client. Default: that of the database. */
  readonly cluster?: Layer.Layer<RunLanes, unknown, Services | CommandClient> | undefined
}

/** The client of the command, which its file's layer is given, as are features, seeds and the dispatcher. */
export type CommandClient = PgClient.PgClient | SqlClient.SqlClient

/** The services that the application has to bring: `layer` is needed where there are any, and has to give all of them. */
export type Brought<F, S, R> = Exclude<Needs<F, S, R>, Base | CommandClient>

/**
 * Gives the settings of the command, for the default export of its file, with their types checked.
 *
 * @example
 * ```ts
 * import { EsOps, Identity } from "effect-es-ops"
 *
 * export default EsOps.config({
 *   seeds: "./seeds",
 *   features: [Identity.feature],
 *   lockTimeout: "30 seconds"
 * })
 * ```
 */
export const config = <F extends Feature.Feature = never, S extends SeedSource.Recorded = never, E = never, R = never>(
  settings: CommandSettings<F, S, E, R> &
    ([Brought<F, S, R>] extends [never]
      ? unknown
      : { readonly layer: Layer.Layer<Brought<F, S, R>, unknown, CommandClient> })
): CommandSettings<F, S, E, R> => settings

/** The settings of the memory layers: those of an application, and the database. */
export interface MemorySettings<
  out F extends Feature.Feature = Feature.Feature,
  out S extends SeedSource.Recorded = SeedSource.Recorded,
  out E = unknown,
  out R = unknown
> extends Settings<F, S, E, R> {
  /** A database that is there already: of an older release, or of another replica. Default: an empty one. */
  readonly database?: MemoryDatabase.MemoryDatabase["Type"] | undefined
}

/**
 * Provides everything in memory: the whole runner without a database, rollback included.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { EsOps, Seed, SeedContext, SeedRunner } from "effect-es-ops"
 *
 * const tenants = Seed.make({
 *   description: "the first tenant",
 *   run: SeedContext.systemWriteAs("tenant:write:create", { key: "acme", name: "Acme" })
 * })
 *
 * export const test = SeedRunner.apply({ appliedBy: "boot" }).pipe(
 *   Effect.map(({ outcomes }) => outcomes.map(({ id }) => id)),
 *   Effect.provide(EsOps.layerMemory({ seeds: { "20260101-tenants": tenants } }))
 * )
 * ```
 */
export const layerMemory = <
  F extends Feature.Feature = never,
  S extends SeedSource.Recorded = never,
  E = never,
  R = never
>(
  settings: MemorySettings<F, S, E, R>
): Layer.Layer<
  Services | MemoryDatabase.MemoryDatabase,
  SettingError | E,
  Exclude<Needs<F, S, R>, Base | MemoryDatabase.MemoryDatabase>
> => {
  const ports = Layer.mergeAll(
    MemoryLock.layer,
    MemoryLog.layer,
    MemoryHealth.layer,
    MemoryEventStore.layer,
    MemoryReadTables.layer,
    MemoryProjectionRecords.layer(projectionsOf(settings)),
    MemoryArchiveMarks.layer,
    MemoryStreamMoves.layer,
    MemoryStreamPurges.layer,
    MemoryDirectory.layer,
    Layer.provideMerge(MemoryRunLog.layer, MemoryTransactor.layer),
    MemoryStepCursor.layer
  )
  const replica = Replica.layerMemory({ host: "memory", pid })
  const database =
    settings.database === undefined
      ? MemoryDatabase.layer
      : Layer.succeed(MemoryDatabase.MemoryDatabase, settings.database)
  const readers = Layer.mergeAll(
    MemoryEventFeed.layer,
    MemorySnapshots.layer,
    MemorySnapshotRows.layer,
    MemoryDeliveries.layer,
    MemoryBackfillStore.layer
  )
  const base = Layer.merge(Layer.effect(EventStore, archivingStore(settings)), MemoryRebuildStore.layer).pipe(
    Layer.provideMerge(readers),
    Layer.provideMerge(ports),
    Layer.provideMerge(Layer.mergeAll(OperationConfig.layer(settings), replica, database))
  )
  return Layer.provideMerge(layerEntrance(settings), base)
}

/** The event store, which takes the read rows of a stream along when it archives it. */
const archivingStore = <F extends Feature.Feature, S extends SeedSource.Recorded, E, R>(
  settings: Partial<Settings<F, S, E, R>>
) =>
  Effect.flatMap(EventStore, (store) =>
    ArchivingStore.make(
      store,
      featuresOf(settings).flatMap(({ projections }) => projections)
    )
  )

/** The source that the settings name. */
const sourceOf = <S extends SeedSource.Recorded>({
  seeds
}: {
  readonly seeds: string | Readonly<Record<string, S>>
}): Effect.Effect<SeedSource.SeedSource["Type"], never, Seed.Services<S>> =>
  typeof seeds === "string" ? SeedListing.ofDirectory(seeds) : SeedListing.ofRecord(seeds)

/** The source of seeds, the features, and the dispatcher of writes to their handlers. */
const entrance = <F extends Feature.Feature, S extends SeedSource.Recorded, E, R>(
  settings: Settings<F, S, E, R>
): Effect.Effect<
  Context.Context<Entrance>,
  SettingError,
  Feature.Context<F> | Seed.Services<S> | EventStore | EventFeed | ReadTables | Directory | Transactor
> =>
  Effect.gen(function* () {
    const source = yield* sourceOf(settings)
    const features = yield* Features.make(featuresOf(settings))
    const writes = yield* HandlerDispatcher.make(featuresOf(settings))
    return Context.make(SeedSource.SeedSource, source).pipe(
      Context.add(WriteDispatcher, writes),
      Context.add(Features.Features, features)
    )
  })

const layerEntrance = <F extends Feature.Feature, S extends SeedSource.Recorded, E, R>(
  settings: Settings<F, S, E, R>
): Layer.Layer<
  Entrance,
  SettingError | E,
  Needs<F, S, R> | EventStore | EventFeed | ReadTables | Directory | Transactor
> =>
  settings.dispatcher === undefined
    ? Layer.effectContext(entrance(settings))
    : entranceWith(settings, settings.dispatcher)

/** The same with a dispatcher of the application's. */
const entranceWith = <F extends Feature.Feature, S extends SeedSource.Recorded, E, R>(
  settings: Settings<F, S, E, R>,
  dispatcher: Layer.Layer<WriteDispatcher, E, R>
) =>
  Layer.mergeAll(
    Layer.effect(SeedSource.SeedSource, sourceOf(settings)),
    Layer.effect(Features.Features, Features.make(featuresOf(settings))),
    ownDispatcher(settings, dispatcher)
  )

/** A refused write of an own dispatcher leaves nothing, too; one that writes elsewhere cannot be undone here. */
const ownDispatcher = <E, R>(
  { allowNonAtomicWriter = false }: OperationSettings,
  dispatcher: Layer.Layer<WriteDispatcher, E, R>
): Layer.Layer<WriteDispatcher, E, R | Transactor> =>
  allowNonAtomicWriter
    ? dispatcher
    : Layer.effect(
        WriteDispatcher,
        Effect.zipWith(Transactor, WriteDispatcher, (transactor, own) => WriteSavepoint.around(transactor, own))
      ).pipe(Layer.provide(dispatcher))

/** The tables that the settings need: the event tables are used unless writes go to a dispatcher of the application's. */
const tablesOf = <F extends Feature.Feature, S extends SeedSource.Recorded, E, R>(
  settings: Partial<Settings<F, S, E, R>>
) => ({
  eventStore: settings.dispatcher === undefined,
  tables: featuresOf(settings).flatMap(({ tables }) => tables),
  projections: projectionsOf(settings)
})

const projectionsOf = <F extends Feature.Feature, S extends SeedSource.Recorded, E, R>(
  settings: Partial<Settings<F, S, E, R>>
): ReadonlyArray<Records.AskedProjection> =>
  featuresOf(settings).flatMap(({ projections }) => projections.map(Records.asked))

/** The features of the settings. The bundled one is active unless the settings name others, or writes go to an own dispatcher. */
const featuresOf = <F extends Feature.Feature, S extends SeedSource.Recorded, E, R>({
  dispatcher,
  features
}: Partial<Settings<F, S, E, R>>): ReadonlyArray<F | typeof Identity.feature> =>
  features ?? (dispatcher === undefined ? [Identity.feature] : [])
