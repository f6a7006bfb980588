/**
 * `Transactor` on PostgreSQL: steps, sessions, savepoints and queries on the connections of the application's client.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { NewAttempt } from "../../operation/Attempt.js"
import * as BoundedWait from "../../operation/BoundedWait.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { outsideStep } from "../../operation/OutsideStep.js"
import { OperationLog } from "../../operation/OperationLog.js"
import { Replica } from "../../operation/Replica.js"
import * as Transactors from "../../operation/Transactor.js"
import { Transactor } from "../../operation/Transactor.js"
import * as DriverAccess from "../client/DriverAccess.js"
import { databaseError } from "../client/PgError.js"
import { PgSession } from "../client/PgSession.js"
import type { Loan } from "../client/DecoratedConnection.js"
import { PgSql, rows } from "../client/PgSql.js"
import { PgStep } from "../client/PgStep.js"
import * as EncodedText from "../client/EncodedText.js"
import * as Standby from "../client/Standby.js"
import * as TableLock from "../client/TableLock.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as DeferredConstraints from "./DeferredConstraints.js"
import * as OwnSession from "./OwnSession.js"
import * as ReadOnlyQuery from "./ReadOnlyQuery.js"
import * as SessionSavepoints from "./SessionSavepoints.js"
import * as StepConnection from "./StepConnection.js"
import * as StepStatements from "./StepStatements.js"
import * as StepTransaction from "./StepTransaction.js"

/** How long the record of an attempt may take on another connection when the step's own is gone. */
const recordPatience = "2 seconds"

/** Transactions on the connections of the application's client. */
export const make: Effect.Effect<
  Transactor["Type"],
  never,
  PgSql | PgSchema | OperationConfig | OperationLog | Replica
> = Effect.gen(function* () {
  const sql = yield* PgSql
  const schema = yield* PgSchema
  const log = yield* OperationLog
  const config = yield* OperationConfig
  const { host } = yield* Replica
  const server: StepStatements.ServerKnowledge = { settings: Option.none(), encoding: EncodedText.unknown() }
  const recordTables = [schema.markers, schema.attempts]
  const waits = {
    watches: sql.watches,
    watch: TableLock.watch(sql, { tables: recordTables, access: "write", bound: Option.none() })
  }

  const step: Transactor["Type"]["step"] = (work, name, restore) =>
    Effect.useSpan("Transactor.step", { attributes: { step: name }, captureStackTrace: false }, (span) =>
      Effect.uninterruptible(
        Effect.gen(function* () {
          const loan = yield* sql.lend
          const { result, unrecorded } = yield* Effect.matchCauseEffect(restore(connectionOf(loan)), {
            onFailure: (cause) => Effect.succeed(neverBegun(cause)),
            onSuccess: (connection) =>
              StepTransaction.run(
                connection,
                span,
                work,
                StepStatements.opening(config, host, name, server, schema.addresses),
                server,
                schema,
                waits,
                restore
              )
          }).pipe(Effect.ensuring(loan.giveBack))
          if (Option.isSome(unrecorded)) yield* recordLater(log, unrecorded.value)
          span.attribute("outcome", result._tag)
          return result
        })
      )
    )

  const session = <A, E, R>(body: Effect.Effect<A, E, R>, name: string): Effect.Effect<A, E | DatabaseError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(sql.lend, (loan) =>
        Effect.gen(function* () {
          const connection = yield* restore(connectionOf(loan))
          const own = yield* Effect.mapError(
            OwnSession.make(
              connection,
              schema.addressed,
              StepStatements.sessionSettings(StepStatements.settingsOf(config, host, name))
            ),
            databaseError("beginning a session")
          )
          const done = yield* Effect.exit(restore(own.provide(body)))
          // What else the body may have left in it, such as settings, prepared statements and locks, ends with the connection.
          yield* Effect.zipRight(own.end, DriverAccess.disconnect(connection))
          return yield* done
        }).pipe(Effect.ensuring(loan.giveBack))
      )
    ).pipe(Effect.withSpan("Transactor.session", { attributes: { step: name }, captureStackTrace: false }))

  /** Inside a transaction that a body or the application began it is a savepoint; elsewhere a transaction of its own. */
  const outside = <A, E, R>(part: Effect.Effect<A, E, R>): Effect.Effect<A, E | DatabaseError, R> =>
    Effect.flatMap(
      Effect.all([Effect.serviceOption(PgSession), Effect.serviceOption(SqlClient.TransactionConnection)]),
      ([own, transaction]) => {
        const named = Effect.mapError(part, asPart)
        if (Option.isNone(transaction)) {
          return Effect.catchAll(runIn({ step }, named), (failed): Effect.Effect<never, E | DatabaseError> => {
            const error = failed._tag === "PartFailed" ? failed.cause : writeFailure(failed)
            return error instanceof DatabaseError
              ? Standby.explained(error, (text) => sql.unsafe(text))
              : Effect.fail(error)
          })
        }
        const { savepoint } = Option.getOrElse(own, () => SessionSavepoints.ofTransaction(transaction.value[0]))
        return Effect.mapError(savepoint(named), (failed) =>
          failed._tag === "PartFailed" ? failed.cause : databaseError("writing")(failed)
        )
      }
    )

  return Transactor.of({
    step,
    session,
    savepoint: StepConnection.savepoint(outside),
    checkDeferred: Effect.flatMap(
      Effect.serviceOption(PgStep),
      Option.match({ onNone: () => outsideStep("checking constraints"), onSome: DeferredConstraints.check })
    ),
    transactionId: sql`SELECT pg_current_xact_id()::text AS id`.pipe(
      rows("reading the transaction's id", TransactionRow),
      Effect.map(([found]) => Option.map(Option.fromNullable(found), ({ id }) => id))
    ),
    query: (text, params) => ReadOnlyQuery.run(sql, text, params)
  })
})

/** `Transactor` on PostgreSQL. */
export const layer: Layer.Layer<Transactor, never, PgSql | PgSchema | OperationConfig | OperationLog | Replica> =
  Layer.effect(Transactor, make)

const TransactionRow = Schema.Struct({ id: Schema.String })

const connecting = databaseError("connecting")

const connectionOf = ({ connection }: Loan) => Effect.mapError(connection, connecting)

/** No connection: nothing was tried. */
const neverBegun = (cause: Cause.Cause<DatabaseError>): StepTransaction.Ended<never, never> => ({
  result: { _tag: "RolledBack", cause },
  unrecorded: Option.none()
})

/** On another connection, as far as that is possible: the step's own is gone. */
const recordLater = (log: OperationLog["Type"], attempt: NewAttempt): Effect.Effect<void> =>
  Effect.catchAll(BoundedWait.within(log.record(attempt), recordPatience), ({ message }) =>
    Effect.logWarning(`The attempt was not recorded: ${message}`)
  )

/** The failure of a part, apart from those of its transaction. */
const asPart = <E>(cause: E) => ({ _tag: "PartFailed" as const, cause })

const runIn = <A, E, R>(transactor: Pick<Transactor["Type"], "step">, part: Effect.Effect<A, E, R>) =>
  Transactors.run(transactor, part, "write")

const writeFailure = (error: Transactors.TransactionError): DatabaseError =>
  error._tag === "DatabaseError"
    ? error
    : DatabaseError.because("writing", error.message, {
        code: "code" in error ? error.code : Option.none(),
        connectionLost: error._tag === "CommitLost",
        cause: error
      })
