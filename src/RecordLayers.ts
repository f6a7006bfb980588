/**
 * The layers for looking at seeds and what is recorded of them: nothing of them runs a seed, writes an event, or knows another kind of operation.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { WriteDispatcher, WriteRejected } from "./event/WriteDispatcher.js"
import * as Names from "./identity/IdentityNames.js"
import * as Tables from "./identity/IdentityTables.js"
import type { OperationSettings, SettingError } from "./operation/OperationConfig.js"
import * as OperationConfig from "./operation/OperationConfig.js"
import type { DatabaseError } from "./operation/OperationError.js"
import * as Replica from "./operation/Replica.js"
import * as ClientLayer from "./postgres/client/ClientLayer.js"
import type { EmbeddedInUse } from "./postgres/embedded/EmbeddedLock.js"
import * as Pglite from "./postgres/embedded/Pglite.js"
import * as RecordPorts from "./postgres/RecordPorts.js"
import * as SeedListing from "./seed/source/SeedListing.js"
import { SeedSource } from "./seed/source/SeedSource.js"

/** What they provide. */
export type Services =
  RecordPorts.Ports | SeedSource | WriteDispatcher | OperationConfig.OperationConfig | Replica.Replica

/** The settings of an application that brings nothing of its own but a folder of seeds, or not even that. */
export interface Settings extends OperationSettings {
  readonly seeds: string | Readonly<Record<string, never>>
}

/** Provides it for the bundled features. */
export const layer = (settings: Settings): Layer.Layer<Services, SettingError, SqlClient.SqlClient> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const config = yield* OperationConfig.make(settings)
      const own = Context.make(OperationConfig.OperationConfig, config).pipe(
        Context.add(Replica.Replica, Replica.current())
      )
      const { seeds } = settings
      return own.pipe(
        Context.merge(yield* Effect.provide(RecordPorts.make(tables), own)),
        Context.add(
          SeedSource,
          yield* typeof seeds === "string" ? SeedListing.ofDirectory(seeds) : SeedListing.ofRecord(seeds)
        ),
        Context.add(WriteDispatcher, names)
      )
    })
  )

const tables: RecordPorts.TableOptions = {
  eventStore: true,
  tables: Tables.all,
  projections: Names.projections
}

/** The names of the handlers, by which seeds are checked. */
const names = WriteDispatcher.of({
  names: Object.values(Names.handlers),
  write: ({ handler }) => new WriteRejected({ handler, code: "read_only", reason: "seeds are only looked at here" })
})

/** Provides a client on a server. */
export const layerClient: typeof ClientLayer.server = ClientLayer.server

/** Provides a client on an embedded database in a folder. */
export const layerEmbedded: (options: {
  readonly folder: string
  readonly lockTimeout: Duration.DurationInput
}) => Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, EmbeddedInUse | DatabaseError> = Pglite.layer
