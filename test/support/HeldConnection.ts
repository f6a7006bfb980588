/**
 * A client of one connection that answers BEGIN, COMMIT and ROLLBACK, and nothing else before it is told to: what becomes of a statement that is
 * interrupted, and of its connection.
 */
import { Reactivity } from "@effect/experimental"
import { SqlClient } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import { PgClient } from "@effect/sql-pg"
import { Deferred, Effect, Stream } from "effect"
import { Duplex } from "node:stream"
import * as PgSqls from "../../src/postgres/client/PgSql.js"

/** Statements of ours over such a client. */
export const make = Effect.gen(function* () {
  const asked = yield* Deferred.make<void>()
  const cancelled = yield* Deferred.make<void>()
  /** What happened, in its order. */
  const seen: Array<string> = []
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
  socket.on("close", () => seen.push("closed"))
  // As the driver does it: a cancellation that is interrupted itself is on its way all the same.
  const cancel = Deferred.await(cancelled).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"))
  const held = Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never).pipe(
    Effect.onInterrupt(() =>
      Effect.zipRight(
        cancel,
        Effect.sync(() => seen.push("cancelled"))
      )
    )
  )
  const send = (text: string): Effect.Effect<ReadonlyArray<never>, SqlError> =>
    Effect.suspend(() => {
      if (socket.destroyed) return new SqlError({ message: "closed", cause: new Error("Connection terminated") })
      if (!/^(BEGIN|COMMIT|ROLLBACK)/.test(text)) return held
      seen.push(text.split(/[ ;]/)[0] ?? "")
      return Effect.succeed([])
    })
  const connection: Connection & { readonly pg: unknown } = {
    pg: { connection: { stream: socket } },
    execute: send,
    executeRaw: send,
    executeValues: send,
    executeUnprepared: send,
    executeStream: (text) => Stream.fromEffect(send(text))
  }
  const acquirer = Effect.acquireRelease(Effect.succeed(connection), () => Effect.sync(() => seen.push("given back")))
  const client = yield* SqlClient.make({ acquirer, compiler: PgClient.makeCompiler(), spanAttributes: [] }).pipe(
    Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make)
  )
  const sql = yield* Effect.provideService(PgSqls.make, SqlClient.SqlClient, client)
  return { sql, asked, cancelled, seen }
})

/** Until whatever is under way in fibers has come to where it waits. */
export const settled = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
