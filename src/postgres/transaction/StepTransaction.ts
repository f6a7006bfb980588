/**
 * A step as one transaction, in the order in which it happens. Besides the statements of its body a step that is kept is two messages:
 *
 * 1. `open`: BEGIN, the settings; the lock, the marker (whose snapshot is taken after the lock); the guard cursor, the savepoint.
 * 2. `commit`: search path and role put back, deferred constraints checked, the guard closed; the marker, the attempt; COMMIT.
 *
 * A step that is undone goes back to the savepoint and closes the guard, then commits its attempt, which releases the lock (`undo`). Where there
 * is nothing to record it is a ROLLBACK.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import type { NewAttempt } from "../../operation/Attempt.js"
import * as AttemptRecord from "../../operation/AttemptRecord.js"
import * as BoundedWait from "../../operation/BoundedWait.js"
import { describe } from "../../operation/ErrorDescription.js"
import { CommitLost, CommitRefused, DatabaseError, SwallowedSqlError } from "../../operation/OperationError.js"
import type { RefusedCommit, Restore, StepEnding, StepRecord, StepResult } from "../../operation/Transactor.js"
import type { Beside } from "../client/DecoratedConnection.js"
import { toItsEnd } from "../client/DecoratedConnection.js"
import * as DriverAccess from "../client/DriverAccess.js"
import * as EncodedText from "../client/EncodedText.js"
import { isConnectionLost, reasonOf, sqlError, sqlState } from "../client/PgError.js"
import { PgSession } from "../client/PgSession.js"
import type { Claim, Claimed } from "../client/PgStep.js"
import * as LogStatement from "../log/LogStatement.js"
import type { PgSchema } from "../schema/PgSchema.js"
import * as InterruptedCommit from "./InterruptedCommit.js"
import type { StepParts } from "./StepConnection.js"
import * as RefusedRecord from "./RefusedRecord.js"
import { inLongerText, StepConnection } from "./StepConnection.js"
import type { CommitGuard, Opening, ServerKnowledge, SessionIdentity } from "./StepStatements.js"
import * as StepStatements from "./StepStatements.js"

/** What became of a step, and the attempt that could not be recorded on its own connection. */
export interface Ended<A, E> {
  readonly result: StepResult<A, E>
  readonly unrecorded: Option.Option<NewAttempt>
}

/** How long a COMMIT may take when its step is interrupted meanwhile: what goes before it in its message may wait for another session. */
const commitPatience = "500 millis"

/** How long a step that was interrupted may take to be undone and recorded; then its connection is closed, and the server rolls back. */
const undoPatience = "1 second"

/**
 * Runs a step on this connection, from BEGIN to its end, its work in this span. It is not interrupted; the work makes interruptible what may be interrupted of it. BEGIN
 * and the settings wait for the first message.
 */
export const run = Effect.fnUntraced(function* <A, E, R>(
  connection: Connection,
  span: Tracer.Span,
  work: Effect.Effect<StepEnding<A, E>, never, R>,
  { begin, guard, identity: columns, savepoint, waitBounded }: Opening,
  server: ServerKnowledge,
  schema: PgSchema["Type"],
  waits: Beside,
  restore: Restore
) {
  // A write in a session is a step of its own, without a claim.
  const session = yield* Effect.serviceOption(PgSession)
  const transaction: Transaction = {
    connection,
    schema,
    server,
    step: new StepConnection(connection, waits.watches, savepoint, begin),
    guard,
    savepoint,
    waitBounded,
    waits,
    columns,
    identity: Option.none(),
    tables: new Map(Option.isSome(session) ? session.value.tables : []),
    isGuarded: false,
    createdTables: false
  }
  const parts: StepParts = {
    open: (claim) => open(transaction, claim),
    tables: transaction.tables,
    resetIdentity: () =>
      Option.match(transaction.identity, { onNone: () => "SELECT 1", onSome: StepStatements.resetIdentity }),
    createdTables: () => {
      transaction.createdTables = true
    }
  }
  // Work does not fail; where it dies, nothing is known of the transaction.
  const ending = yield* Effect.onError(transaction.step.provide(parts, span, work), () => {
    transaction.step.close()
    return DriverAccess.disconnect(connection)
  })
  const result = yield* conclude(transaction, ending, restore)
  // Whoever had the connection next would be hit by the cancellation, or have the body's settings, prepared statements and locks.
  if (transaction.step.abandoned.fibers.size > 0 || transaction.step.isChanged)
    yield* DriverAccess.disconnect(connection)
  return result
})

/** Keeps the step or undoes it, as its work has ended. */
const conclude = <A, E>(
  transaction: Transaction,
  ending: StepEnding<A, E>,
  restore: Restore
): Effect.Effect<Ended<A, E>> =>
  Effect.gen(function* () {
    if (ending._tag === "Undo") {
      transaction.step.close()
      return yield* undo(transaction, ending.cause, ending.attempt)
    }
    const sealed = yield* Effect.exit(restore(transaction.step.sealed))
    if (Exit.isSuccess(sealed)) return yield* commit(transaction, ending.value, ending.record)
    transaction.step.close()
    return yield* undoKept(transaction, sealed.cause, ending.record)
  })

/** The transaction of one step, and what is known of it so far. */
interface Transaction {
  readonly connection: Connection
  readonly step: StepConnection
  readonly schema: PgSchema["Type"]
  readonly server: ServerKnowledge
  readonly guard: CommitGuard
  /** The savepoint behind the claim, to which a failed body is undone. */
  readonly savepoint: string
  /** Bounds the wait for the tables of the record. */
  readonly waitBounded: number
  /** Tells of that wait, for as long as it takes. */
  readonly waits: Beside
  readonly columns: string
  /** Search path and role that the step began with: known once the claim is answered, and the savepoint is there. */
  identity: Option.Option<SessionIdentity>
  /** Where the claim found the tables. */
  readonly tables: Map<string, string>
  /** Whether the guard cursor is there. */
  isGuarded: boolean
  createdTables: boolean
}

/** The first message. The marker is asked for by a statement of its own: its snapshot sees what the last holder of the lock committed. */
const open = (transaction: Transaction, { columns, statement }: Claim): Effect.Effect<Claimed, SqlError> =>
  Effect.flatMap(
    transaction.step.sendAbandonable(
      `SELECT ${columns}, ${transaction.columns}; ${statement}; ${transaction.guard.declare}; SAVEPOINT ${transaction.savepoint}`
    ),
    (results) => {
      const [first, second] = results.slice(-4)
      const row = first?.rows[0]
      const [, settings, ...more] = results
      if (Option.isNone(transaction.server.settings) && more.length === 4)
        transaction.server.settings = Option.some(StepStatements.settingsSet(settings?.rows ?? []))
      // A driver that answers in another shape: without the session to go back to, nothing may be run.
      if (!StepStatements.isIdentity(row) || second === undefined)
        return Effect.fail(sqlError(new TypeError("no session")))
      transaction.identity = Option.some(row)
      for (const [name, found] of StepStatements.tablesFound(transaction.schema.addressed, row.addresses))
        transaction.tables.set(name, found)
      transaction.isGuarded = true
      transaction.step.atSavepoint()
      return Effect.succeed({ row, rows: second.rows })
    }
  )

/**
 * The last message of a step that is kept. Deferred constraints are checked before the guard, so that a failure behind the guard is one of the
 * marker or the attempt.
 */
const commit = <A>(
  transaction: Transaction,
  value: A,
  record: Option.Option<StepRecord>
): Effect.Effect<Ended<A, never>> =>
  Effect.gen(function* () {
    const { guard, identity, schema, step } = transaction
    if (step.isUnsent) return committed(value)
    const before = StepStatements.ending(guard, identity, step.late)
    const recording = yield* Option.match(record, {
      onNone: () => Effect.succeed(""),
      onSome: (given) => recordText(transaction, given)
    })
    // The wait for our own tables is bounded; what was deferred is the body's, and is behind us.
    const bounded = recording === "" ? [] : [StepStatements.waitAtMost(transaction.waitBounded), recording]
    const sent = step.send([...before, ...bounded, "COMMIT"].join("; "))
    const exit = yield* toItsEnd(sent, commitPatience, transaction.waits)
    if (Exit.isSuccess(exit)) {
      if (exit.value.at(-1)?.command === "COMMIT") {
        if (transaction.createdTables) schema.created()
        return committed(value)
      }
      return yield* undoKept(transaction, Cause.fail(rolledBackAtCommit()), record)
    }
    const failure = Cause.failureOption(exit.cause)
    if (Option.isNone(failure)) {
      const defect = Cause.keepDefects(exit.cause)
      if (Option.isSome(defect)) return yield* undoKept(transaction, defect.value, record, true)
      return yield* interruptedCommit(transaction, value, record)
    }
    if (isConnectionLost(failure.value))
      return yield* unanswered(transaction, value, reasonOf(failure.value), failure.value)
    const refused = yield* refusedCommit(transaction, record, failure.value)
    return yield* undoKept(transaction, Cause.fail(refused), record)
  })

/** The step was interrupted while the server was in its COMMIT: nothing is called rolled back, or recorded so, unless the server says it is. */
const interruptedCommit = <A>(transaction: Transaction, value: A, record: Option.Option<StepRecord>) =>
  Effect.flatMap(InterruptedCommit.fate(transaction, record), (fate): Effect.Effect<Ended<A, never>> => {
    const interrupted = Cause.interrupt(FiberId.none)
    switch (fate) {
      case "committed":
        return Effect.succeed(committed(value))
      case "open":
        return undoKept(transaction, interrupted, record, true)
      case "rolledBack":
        return Effect.succeed(
          rolledBack(
            interrupted,
            Option.map(record, ({ attempt }) => AttemptRecord.interrupted(attempt))
          )
        )
      case "unknown":
        return unanswered(transaction, value, "the run was interrupted before the server answered")
    }
  })

const unanswered = <A>({ connection }: Transaction, value: A, reason: string, cause?: SqlError) =>
  Effect.as(
    DriverAccess.disconnect(connection),
    ended({ _tag: "Unanswered", value, lost: new CommitLost({ reason, cause }) })
  )

const committed = <A>(value: A): Ended<A, never> => ended({ _tag: "Committed", value })

const ended = <A>(result: StepResult<A, never>): Ended<A, never> => ({ result, unrecorded: Option.none() })

const rolledBackAtCommit = () => new CommitRefused({ code: Option.none(), reason: "it rolled the transaction back" })

/** Marker and attempt as statements; without the attempt where its table is missing. */
const recordText = (transaction: Transaction, record: StepRecord): Effect.Effect<string> =>
  Effect.flatMap(hasAttempts(transaction), (there) => {
    const { schema, tables } = transaction
    const markers = tables.get(schema.markers) ?? schema.markers
    const attempts = there ? (tables.get(schema.attempts) ?? schema.attempts) : undefined
    const text = LogStatement.recordInserts({ markers, attempts }, record).join("; ")
    return isAscii.test(text) ? Effect.succeed(text) : encoded(transaction, text)
  })

/** The text as the database can hold it: a character that it cannot hold would make the whole message fail. */
const encoded = ({ server, step }: Transaction, text: string, isOpen = true): Effect.Effect<string> => {
  const ask = (statement: string) => step.send(statement)
  return EncodedText.fit(server.encoding, text, isOpen ? EncodedText.inSavepoint(ask) : ask)
}

const isAscii = /^\p{ASCII}*$/u

/** Whether there is a table of attempts: it may be missing where the role may not create it. */
const hasAttempts = ({ schema, step }: Transaction): Effect.Effect<boolean> =>
  schema.has(schema.attempts)
    ? Effect.succeed(true)
    : Effect.match(step.send(StepStatements.exists(schema.attempts)), {
        onFailure: () => false,
        onSuccess: (results) => (results.at(-1)?.rows.length ?? 0) > 0
      })

/** Why the server did not commit. */
const refusedCommit = (
  transaction: Transaction,
  record: Option.Option<StepRecord>,
  error: SqlError
): Effect.Effect<RefusedCommit> =>
  Effect.gen(function* () {
    const code = sqlState(error)
    if (Option.contains(code, StepStatements.noCursor) || Option.contains(code, StepStatements.noSavepoint))
      return transaction.step.violated(inLongerText)
    const isPassed = Option.isSome(code) && (yield* Effect.orElseSucceed(backPastGuard(transaction, true), () => false))
    if (isPassed && Option.isSome(record)) return yield* RefusedRecord.reason(transaction, record.value, error)
    if (Option.contains(code, "25P02")) {
      const swallowed = Option.getOrElse(transaction.step.lastFailure, () => error)
      return new SwallowedSqlError({ code: sqlState(swallowed), reason: reasonOf(swallowed) })
    }
    return new CommitRefused({ code, reason: reasonOf(error) })
  })

/**
 * Back to the savepoint, and the guard closed. True if it was closed before: where the last message was sent, that came as far as marker and
 * attempt then, as the closing of a cursor is not undone with a savepoint (PostgreSQL manual, ROLLBACK TO SAVEPOINT). Elsewhere the body ended the
 * transaction, and nothing of it may be kept.
 */
const backPastGuard = (transaction: Transaction, wasSent: boolean): Effect.Effect<boolean, SqlError> => {
  const { guard, isGuarded, savepoint, step } = transaction
  const back = `ROLLBACK TO SAVEPOINT ${savepoint}`
  return step.sendInstead(isGuarded ? `${back}; ${guard.close}` : back).pipe(
    Effect.as(false),
    Effect.catchIf(
      (error) => wasSent && Option.contains(sqlState(error), StepStatements.noCursor),
      () => Effect.as(step.sendInstead(back), true)
    ),
    Effect.tap(() =>
      Effect.sync(() => {
        transaction.isGuarded = false
      })
    )
  )
}

/** The end of a step that was to be kept: its attempt is recorded as what it came to. A marker that is there already is no attempt. */
const undoKept = (
  transaction: Transaction,
  cause: Cause.Cause<RefusedCommit>,
  record: Option.Option<StepRecord>,
  isCommitting = false
): Effect.Effect<Ended<never, never>> => {
  const failure = Cause.failureOption(cause)
  const attempt = Option.exists(failure, RefusedRecord.isNoAttempt)
    ? Option.none()
    : Option.map(record, (given) =>
        Cause.isInterrupted(cause)
          ? AttemptRecord.interrupted(given.attempt)
          : AttemptRecord.refused(given.attempt, Cause.squash(cause))
      )
  return undo<never>(transaction, cause, attempt, isCommitting)
}

/** The end of a step that is not kept. One that was interrupted is undone in time, or its connection is closed. */
const undo = <E>(
  transaction: Transaction,
  cause: Cause.Cause<E | RefusedCommit>,
  attempt: Option.Option<NewAttempt>,
  isCommitting = false
): Effect.Effect<Ended<never, E>> => {
  if (transaction.step.isUnsent) return Effect.succeed(rolledBack(cause, Option.none()))
  if (Cause.isInterrupted(cause)) {
    const tooLate = rolledBack(cause, isCommitting ? Option.none() : attempt)
    return Effect.catchTag(
      BoundedWait.within(undoNow(transaction, cause, attempt, isCommitting), undoPatience),
      "TimeoutException",
      () => Effect.as(DriverAccess.disconnect(transaction.connection), tooLate)
    )
  }
  // A body that tried to end the transaction fails for that reason, whatever it made of the refusal.
  return Option.match(transaction.step.violation, {
    onNone: () => undoNow(transaction, cause, attempt, isCommitting),
    onSome: (violation) =>
      undoNow<E>(
        transaction,
        Cause.fail(violation),
        Option.map(attempt, (given) => AttemptRecord.refused(given, violation)),
        isCommitting
      )
  })
}

const rolledBack = <E>(
  cause: Cause.Cause<E | RefusedCommit>,
  unrecorded: Option.Option<NewAttempt>
): Ended<never, E> => ({ result: { _tag: "RolledBack", cause }, unrecorded })

/**
 * Back to the savepoint, the attempt, COMMIT; or ROLLBACK. Where the savepoint is gone, as the transaction was ended by the body or by the
 * server at COMMIT, the attempt stands alone; but not that of a step that was interrupted in its COMMIT, which may have gone through.
 */
const undoNow = <E>(
  transaction: Transaction,
  cause: Cause.Cause<E | RefusedCommit>,
  attempt: Option.Option<NewAttempt>,
  isCommitting: boolean
): Effect.Effect<Ended<never, E>> =>
  Effect.gen(function* () {
    const { connection, identity, schema, step } = transaction
    yield* step.settled
    const keeps = Option.isSome(attempt) && Option.isSome(identity)
    const back = yield* Effect.either(
      Effect.asVoid(keeps ? backPastGuard(transaction, isCommitting) : Effect.asVoid(step.sendInstead("ROLLBACK")))
    )
    if (Either.isLeft(back) && isConnectionLost(back.left)) {
      yield* DriverAccess.disconnect(connection)
      return rolledBack(lostDuring(cause), isCommitting ? Option.none() : attempt)
    }
    const end = (text: string) => Effect.catchAll(step.sendInstead(text), () => DriverAccess.disconnect(connection))
    if (Either.isLeft(back)) yield* end("ROLLBACK")
    const within = keeps && Either.isRight(back)
    if (Option.isNone(attempt) || (!within && isCommitting) || !(yield* hasAttempts(transaction))) {
      if (within) yield* end("COMMIT")
      return rolledBack(cause, Option.none())
    }
    const attempted = LogStatement.attemptInsert(schema.attempts, attempt.value)
    const held = isAscii.test(attempted) ? attempted : yield* encoded(transaction, attempted, within)
    const insert = `${StepStatements.waitBriefly}; ${held}`
    yield* step
      .sendInstead(within ? `${insert}; COMMIT` : insert)
      .pipe(
        Effect.catchAll((error) =>
          Effect.zipRight(
            Effect.logWarning(
              `The attempt was not recorded: ${LogStatement.notStoredBy(schema, error)?.reason ?? reasonOf(error)}`
            ),
            within ? end("ROLLBACK") : Effect.void
          )
        )
      )
    return rolledBack(cause, Option.none())
  })

const lostDuring = <E>(cause: Cause.Cause<E | RefusedCommit>): Cause.Cause<E | RefusedCommit> => {
  if (Cause.isInterrupted(cause)) return cause
  const reason = Cause.squash(cause)
  if (reason instanceof DatabaseError && reason.connectionLost) return Cause.fail(reason)
  const { code, message } = describe(reason)
  return Cause.fail(
    DatabaseError.because("running a step", message, {
      code: Option.fromNullable(code),
      connectionLost: true,
      cause: reason
    })
  )
}
