/**
 * Savepoints inside the transactions that a body begins in its own session: each part alone among their statements, and released at its end, as
 * a savepoint that stays keeps a lock in the server until the transaction ends.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Mutex from "../../operation/Mutex.js"
import { decorate, withWholeStreams } from "../client/DecoratedConnection.js"
import { sqlError } from "../client/PgError.js"
import type { PgSession } from "../client/PgSession.js"
import type { SavepointOptions } from "../client/PgStep.js"

/** The transactions of a session. */
export interface SessionSavepoints {
  /** The connection for a transaction of the body: a statement waits while a part has its turn. */
  readonly connection: Connection
  readonly savepoint: PgSession["Type"]["savepoint"]
}

/** The savepoints of the transactions that an application began, by their connections. */
const ofApplication = new WeakMap<Connection, SessionSavepoints>()

/** Savepoints inside a transaction that the application began on this connection; it is one part at a time that has its turn. */
export const ofTransaction = (connection: Connection): SessionSavepoints => {
  const known = ofApplication.get(connection) ?? make(connection, connection)
  ofApplication.set(connection, known)
  return known
}

const partIsOver = sqlError(new Error("the write or query that this statement belongs to is over"))

/** Over `wire`, on which savepoints are sent; the statements of the body go over `guarded`. */
export const make = (wire: Connection, guarded: Connection): SessionSavepoints => {
  const mutex = Mutex.make()
  /** The connections that parts were given: a part of a part has its turn already. */
  const ofParts = new WeakSet<Connection>()
  const none: readonly [conn: Connection, depth: number] = [wire, 0]
  let count = 0

  const inTurn = <A, E, R>(
    part: Effect.Effect<A, E, R>,
    depth: number,
    { begin, keep = true }: SavepointOptions = {}
  ): Effect.Effect<A, E | SqlError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const name = `es_ops_${++count}`
        const undo = Effect.asVoid(wire.executeRaw(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`, []))
        let ended = false
        const own = withWholeStreams(
          decorate(guarded, (run) => Effect.suspend(() => (ended ? Effect.fail(partIsOver) : run)))
        )
        ofParts.add(own)
        // A part of a part may ask for the savepoints of the connection that it was given.
        ofApplication.set(own, savepoints)
        yield* wire.executeRaw([`SAVEPOINT ${name}`, begin ?? []].flat().join("; "), [])
        const exit = yield* Effect.exit(
          restore(Effect.provideService(part, SqlClient.TransactionConnection, [own, depth]))
        )
        ended = true
        if (Exit.isFailure(exit)) yield* Effect.ignore(undo)
        else if (!keep) yield* undo
        // Where a statement of the part failed and was caught, nothing of the part may stay.
        else yield* Effect.tapError(wire.executeRaw(`RELEASE SAVEPOINT ${name}`, []), () => Effect.ignore(undo))
        return yield* exit
      })
    )

  const savepoints: SessionSavepoints = {
    connection: withWholeStreams(decorate(guarded, (run) => mutex.alone(run))),
    savepoint: (part, options) =>
      Effect.flatMap(Effect.serviceOption(SqlClient.TransactionConnection), (transaction) => {
        const [connection, depth] = Option.getOrElse(transaction, () => none)
        const run = inTurn(part, depth, options)
        return ofParts.has(connection) ? run : mutex.alone(run)
      })
  }
  return savepoints
}
