/**
 * A client of our own on a server, and layers of clients that can be abandoned while they connect.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { SettingError } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as ServerUrl from "../../operation/ServerUrl.js"
import { databaseError } from "./PgError.js"

/** How long opening a connection may take. */
const connectTimeout = "10 seconds"

/**
 * A client on the server of this URL, with at most two connections, unless more are named. A server that cannot be reached is a `DatabaseError`, a URL that cannot be
 * used a `SettingError`. Building it can be interrupted.
 */
export const server = (options: {
  readonly url: Redacted.Redacted
  readonly connections?: number | undefined
}): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, DatabaseError | SettingError> =>
  Either.match(ServerUrl.read(Redacted.value(options.url)), {
    onLeft: (reason) => Layer.fail(new SettingError({ key: "url", reason })),
    onRight: ({ url }) =>
      PgClient.layer({
        url: Redacted.make(url),
        applicationName: "es-ops",
        maxConnections: options.connections ?? 2,
        connectTimeout
      }).pipe(
        Layer.catchAll((error) => Layer.fail(connectingTo(url)(error))),
        abandonable
      )
  })

/** A server without TLS is a failure of the driver's own, without a code. */
const connectingTo = (url: string) => (error: SqlError) => {
  const failure = databaseError("connecting to the database")(error)
  return Option.isNone(failure.code) && ServerUrl.isEncrypted(url)
    ? failure.adding("the URL asks for TLS: with a server that has none, say sslmode=disable")
    : failure
}

/**
 * The same layer, whose building can be interrupted: a client connects uninterruptibly. The connection goes on in a fiber of its own, and is
 * closed when it is there.
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
