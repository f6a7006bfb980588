/**
 * The session of a command that looks at seeds or keeps their record: where the config file brings nothing that is the application's, what
 * other kinds of operations need is not loaded.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SettingError } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { EmbeddedInUse } from "../../EsOps.js"
import * as RecordLayers from "../../RecordLayers.js"
import * as NamedSeeds from "../input/NamedSeeds.js"
import type { Resolved, Source } from "../input/Settings.js"
import type { Terminal } from "../output/Terminal.js"
import { clientOn } from "./CommandClient.js"
import * as LoadOnDemand from "./LoadOnDemand.js"

/** Runs `work` on the database of `settings` and no other. */
export const withRecord = <A, E>(
  settings: Resolved,
  work: Effect.Effect<A, E, RecordLayers.Services>
): Effect.Effect<A, E | SettingError | DatabaseError | EmbeddedInUse, Terminal> =>
  Effect.gen(function* () {
    const { database, file, isNamed, late, lockTimeout, renamed, seeds: named } = settings
    if (typeof named !== "string" || isApplications(file)) {
      const { withDatabase } = yield* session
      return yield* withDatabase(settings, work)
    }
    const seeds = yield* NamedSeeds.of({ isNamed, seeds: named })
    const client = yield* clientOn(database, lockTimeout)
    return yield* Effect.provide(
      work,
      Layer.provide(RecordLayers.layer({ ...file, seeds, late, renamed, lockTimeout }), client)
    )
  })

/** Runs `work` on an empty database in memory. */
export const withoutRecord = <A, E>(
  source: Source,
  work: Effect.Effect<A, E, RecordLayers.Services>
): Effect.Effect<A, E | SettingError, Terminal> =>
  Effect.flatMap(session, ({ withoutDatabase }) => withoutDatabase(source, work))

/** The session of all kinds. */
const session = Effect.promise(LoadOnDemand.load)

/** Whether a file brings features, a dispatcher or services. */
const isApplications = ({ dispatcher, features, layer }: Source["file"]): boolean =>
  [dispatcher, features, layer].some((brought) => brought !== undefined)
