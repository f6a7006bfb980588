import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import type { WriteHandler } from "effect-es-ops"
import { WriteDispatcher } from "effect-es-ops"
import { randomUUID } from "node:crypto"

/** Writes for a user: the events and the read tables change in one transaction, or not at all. */
export const write = (actor: WriteHandler.Actor, handler: string, payload: unknown) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const dispatcher = yield* WriteDispatcher.WriteDispatcher
    const request = { handler, actor, operationId: "http", correlationId: randomUUID(), payload }
    const { data } = yield* sql.withTransaction(dispatcher.write(request))
    return data
  })
