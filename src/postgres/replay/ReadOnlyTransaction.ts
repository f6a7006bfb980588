/**
 * A transaction that only reads, for a handler that may ask the database nothing: it begins with the first statement, and is always rolled back.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { TransactionControl } from "../../operation/OperationError.js"
import type { Turns } from "../../replay/Deliveries.js"
import * as Refusals from "../../replay/Refusals.js"
import { ReplayWrites } from "../../replay/ReplayError.js"
import { decorate } from "../client/DecoratedConnection.js"
import * as DriverAccess from "../client/DriverAccess.js"
import { reasonOf, sqlError, sqlState } from "../client/PgError.js"
import type { Loan } from "../client/DecoratedConnection.js"
import type { PgSql } from "../client/PgSql.js"
import { over } from "../client/DecoratedConnection.js"
import { forbidden } from "../client/SqlText.js"

/** read_only_sql_transaction, and the way out of one: active_sql_transaction. */
const writes = new Set(["25006", "25001"])

/** The mode cannot be changed any more once something was read. */
const begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SELECT 1"

/** Runs handlers one after another; each of the statements of one, through whichever client, goes into one such transaction. */
export const inTurn = <A, E, R>(
  sql: PgSql["Type"],
  work: (turns: Turns) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let loan: Loan | undefined
    let opened: Connection | undefined
    const { ending, refuse } = Refusals.make()
    const turn = Effect.unsafeMakeSemaphore(1)
    const open = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        if (opened !== undefined) return opened
        const asked = yield* sql.lend
        const connection = yield* restore(asked.leavable).pipe(
          Effect.tap((own) => Effect.onError(own.executeRaw(begin, []), () => DriverAccess.disconnect(own))),
          Effect.onError(() => asked.giveBack)
        )
        loan = asked
        opened = connection
        return connection
      })
    )
    const connected = turn.withPermits(1)(open)
    const noted = (error: SqlError) => {
      if (Option.exists(sqlState(error), (state) => writes.has(state)))
        refuse(new ReplayWrites({ what: `the subscriber tried to write: ${reasonOf(error)}` }))
    }
    const connection = decorate(lazily(connected), (statement, text, params) =>
      Option.match(forbidden(text, params), {
        onNone: () => Effect.tapError(statement, (error) => Effect.sync(() => noted(error))),
        onSome: (control) => Effect.fail(sqlError(new TransactionControl({ statement: control })))
      })
    )
    const end = Effect.uninterruptible(
      Effect.suspend(() => {
        const [had, own] = [loan, opened]
        loan = undefined
        opened = undefined
        if (had === undefined || own === undefined) return Effect.void
        const undo = Effect.catchAll(Effect.asVoid(own.executeRaw("ROLLBACK", [])), () => DriverAccess.disconnect(own))
        return Effect.ensuring(undo, had.giveBack)
      })
    )
    const ended = <B, E2>(exit: Exit.Exit<B, E2>) =>
      loan === undefined ? Effect.sync(() => ending(exit)) : Effect.map(end, () => ending(exit))
    // Who is interrupted here has its transaction ended with all of the work.
    const run: Turns["run"] = Effect.matchCauseEffect({
      onFailure: (cause) => ended(Exit.failCause(cause)),
      onSuccess: (value) => ended(Exit.succeed(value))
    })
    return Effect.ensuring(over(connection)(work({ run, refuse })), end)
  })

/**
 * The connection, once it is asked something. Statements without parameters go by the extended protocol too: it takes one statement at a time, so that
 * nothing is smuggled behind a ROLLBACK.
 */
const lazily = (connected: Effect.Effect<Connection, SqlError>): Connection => ({
  execute: (text, params, transform) =>
    Effect.flatMap(connected, (connection) =>
      params.length > 0 ? connection.execute(text, params, transform) : single(connection, text, transform)
    ),
  executeRaw: (text, params) =>
    Effect.flatMap(connected, (connection) =>
      params.length > 0
        ? connection.executeRaw(text, params)
        : Effect.map(single(connection, text, undefined), (rows) => ({ rows, rowCount: rows.length }))
    ),
  executeValues: (text, params) =>
    params.length === 0 && text.includes(";")
      ? Effect.fail(sqlError(new TransactionControl({ statement: "several statements in one text" })))
      : Effect.flatMap(connected, (connection) => connection.executeValues(text, params)),
  executeUnprepared: (text, params, transform) =>
    Effect.flatMap(connected, (connection) =>
      params.length > 0 ? connection.executeUnprepared(text, params, transform) : single(connection, text, transform)
    ),
  executeStream: (text, params, transform) =>
    Stream.unwrap(Effect.map(connected, (connection) => connection.executeStream(text, params, transform)))
})

const single = (
  connection: Connection,
  text: string,
  transform: Parameters<Connection["execute"]>[2]
): ReturnType<Connection["execute"]> =>
  Effect.map(Stream.runCollect(connection.executeStream(text, [], transform)), Chunk.toReadonlyArray)
