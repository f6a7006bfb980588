/**
 * A command's work on the database that it was told: layers, and the line that says which database it is.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as EsOps from "../EsOps.js"
import type { ConfigError } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { EmbeddedInUse } from "../postgres/EmbeddedLock.js"
import { databaseError } from "../postgres/PgError.js"
import * as Pglite from "../postgres/Pglite.js"
import type { Resolved } from "./Settings.js"
import { Terminal } from "./Terminal.js"

/** How long opening a connection may take. */
const connectTimeout = Duration.seconds(10)

/** Runs `work` with everything that it needs, on the database of `settings` and no other. */
export const withDatabase = <A, E>(
  settings: Resolved,
  work: Effect.Effect<A, E, EsOps.Services>
): Effect.Effect<A, E | ConfigError | DatabaseError | EmbeddedInUse, Terminal> =>
  Effect.gen(function* () {
    const { err } = yield* Terminal
    const { database, late, lockTimeout, seeds } = settings
    yield* Option.match(database.note, { onNone: () => Effect.void, onSome: err })
    yield* err(`database: ${database.shown}`)
    const client =
      database._tag === "Embedded"
        ? Pglite.layer({ folder: database.folder, lockTimeout })
        : PgClient.layer({
            url: Redacted.make(database.url),
            applicationName: "es-ops",
            maxConnections: 2,
            connectTimeout
          }).pipe(Layer.catchAll((error) => Layer.fail(databaseError("connecting to the database")(error))))
    return yield* Effect.provide(work, EsOps.layer({ seeds, late, lockTimeout }).pipe(Layer.provide(client)))
  })
