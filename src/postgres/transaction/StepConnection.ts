/**
 * The connection of a step, between its first message and its last. Statements that need no answer of their own wait for the next message; those
 * of the body take turns, cannot end the transaction, and are refused once the body has ended; a part of the body runs in a savepoint.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import * as BoundedWait from "../../operation/BoundedWait.js"
import * as Mutex from "../../operation/Mutex.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { CommitRefused, TransactionControl } from "../../operation/OperationError.js"
import { CurrentSavepoint } from "../../operation/CurrentSavepoint.js"
import * as ClientEncoding from "../client/ClientEncoding.js"
import type { AroundStatement, Watches } from "../client/DecoratedConnection.js"
import {
  abandonable,
  AbandonedStatements,
  decorate,
  toItsEnd,
  withWholeStreams
} from "../client/DecoratedConnection.js"
import * as DriverAccess from "../client/DriverAccess.js"
import type { Late } from "../client/LateTriggers.js"
import { databaseError, inOwnWords, sqlError, sqlState } from "../client/PgError.js"
import type { Results, SavepointOptions } from "../client/PgStep.js"
import { PgStep } from "../client/PgStep.js"
import { look } from "../client/SqlText.js"

/** Goes around an effect, such as the turn of a statement. */
type Around = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** What a step tells its ports beside its connection. */
export type StepParts = Pick<PgStep["Type"], "open" | "tables" | "resetIdentity" | "createdTables">

/** A text of several statements with a COMMIT or ROLLBACK among them. */
export const inLongerText = "a COMMIT or ROLLBACK inside a longer text"

/**
 * How long the cancellation of a statement is waited for: until then it may hit the next one (PostgreSQL manual, 54.2.8). In a pool of one
 * there is no connection to cancel it by.
 */
const cancellationPatience = "250 millis"

/** How long a statement behind an abandoned one, or around an interrupted part, may take; then nothing more of the step is sent. */
const patience = "1 second"

/** How long writes and queries that the body left running may take to end. */
const settleTimeout = "30 seconds"

/** The connection of one step. */
export class StepConnection {
  /** Statements that wait for the next message. */
  private readonly waiting: Array<string>
  private readonly mutex = Mutex.make()
  readonly abandoned = new AbandonedStatements()
  private savepoints = 0
  private failures = 0
  /** Whether nothing was sent so far. */
  isUnsent = true
  /** Whether the server has answered the first message. */
  private isBegun = false
  /** Whether nothing was sent since the step's own savepoint: it is that of a part as well then. */
  private isAtSavepoint = false
  /** Whether the body has ended: nothing of it, and of what it left running, is sent any more. */
  private isClosed = false
  /** The application's own settings that the body has set. */
  private readonly ownSettings = new Set<string>()
  /** Tables without triggers and rules: what is written to them stays as it is sent. */
  private readonly plain = new Set<string>()
  /** The rows that are looked at once more when deferred triggers have fired. */
  readonly late: Late = new Map()
  /** Whether the body may have changed the session beyond its transaction. */
  isChanged = false
  /** Whether a statement is in the way that did not end in time: what a part did before it may not be undone. */
  private isBroken = false
  /** The body's attempt on the transaction, if there was one. */
  violation = Option.none<TransactionControl>()
  /** The body's last failure that the server answers for: what aborted the transaction, if it is aborted. */
  lastFailure = Option.none<SqlError>()

  /** A connection in which `first` waits; `savepoint` is the step's own, behind its claim. `watches` go beside statements that may take long. */
  constructor(
    private readonly wire: Connection,
    private readonly watches: Watches,
    private readonly savepoint: string,
    first: string
  ) {
    this.waiting = [first]
  }

  /** Sends `text` together with what waits, and waits for the rows of each statement, those that waited first. */
  send(text: string): Effect.Effect<Results, SqlError> {
    return Effect.suspend(() => {
      const all = [...this.waiting.splice(0), text].join("; ")
      this.isUnsent = false
      this.isAtSavepoint = false
      return Effect.mapBoth(this.wire.executeRaw(all, []), {
        onFailure: inOwnWords,
        onSuccess: (answer) => {
          this.isBegun = true
          return resultsOf(answer)
        }
      })
    })
  }

  /** The same, in a message that its fiber can abandon. */
  sendAbandonable(text: string): Effect.Effect<Results, SqlError> {
    return abandonable(this.send(text), this.abandoned.note)
  }

  /** Sends `text` in place of what waits, which it undoes. */
  sendInstead(text: string): Effect.Effect<Results, SqlError> {
    return Effect.suspend(() => {
      this.waiting.length = 0
      return this.send(text)
    })
  }

  /** Notes that the step's savepoint was the last statement that was sent. */
  atSavepoint(): void {
    this.isAtSavepoint = true
  }

  /** Runs the work of the step: what it asks of the database goes over this connection, past these checks. */
  provide<A, E, R>(parts: StepParts, span: Tracer.AnySpan, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const inTurn: Around = (effect) => this.inTurn(effect)
    const checked = this.checked(inTurn, () => false)
    // What is left running may be watched beyond the end of the step, when the connection is another's.
    const disconnect = Effect.suspend(() => (this.isClosed ? Effect.void : DriverAccess.disconnect(this.wire)))
    const step = PgStep.of({
      ...parts,
      ownSettings: this.ownSettings,
      plain: this.plain,
      late: this.late,
      connection: decorate(this.wire, (run) => abandonable(this.behindWaiting(run), this.abandoned.note)),
      watched: (watch, statement) => this.watches.closing(disconnect, watch, statement),
      send: (text) => this.sendAbandonable(text),
      savepoint: (part, options) => this.inTurn(this.inSavepoint(step, part, options))
    })
    const own = within(withWholeStreams(decorate(this.wire, checked)), step).pipe(Context.add(Tracer.ParentSpan, span))
    return Effect.provide(work, own)
  }

  /** Ends the body, at once. */
  close(): void {
    this.isClosed = true
  }

  /** Ends the body when what it left running has ended, within bounds; what it did to the transaction is its failure. */
  get sealed(): Effect.Effect<void, CommitRefused | TransactionControl> {
    return Effect.suspend(() => {
      if (!this.mutex.isFree()) return this.sealedInTurn
      this.close()
      if (Option.isSome(this.violation)) return this.violation.value
      if (this.isBroken) return notUndone()
      return this.abandoned.fibers.size === 0 ? Effect.void : this.settled
    })
  }

  private get sealedInTurn(): Effect.Effect<void, CommitRefused | TransactionControl> {
    const ended = BoundedWait.within(this.mutex.alone(Effect.sync(() => this.close())), settleTimeout)
    return Effect.zipRight(
      Effect.catchTag(ended, "TimeoutException", neverEnded),
      Effect.suspend(() => this.sealed)
    )
  }

  /** Waits until no abandoned statement can be in the way any more, but not for long: false if one still may be. */
  get settled(): Effect.Effect<boolean> {
    return this.abandoned.settled(cancellationPatience)
  }

  /** Notes an attempt on the transaction; gives the first one. */
  violated(statement: string): TransactionControl {
    const first = Option.getOrElse(this.violation, () => new TransactionControl({ statement }))
    this.violation = Option.some(first)
    return first
  }

  /** Alone among the body's statements; a part of a savepoint has its turn already. */
  private inTurn<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.flatMap(Effect.serviceOption(CurrentSavepoint), (current) =>
      Option.exists(current, ({ ended, step }) => step === this && !ended) ? effect : this.mutex.alone(effect)
    )
  }

  /** What waits goes first, in a message of its own. */
  private behindWaiting<A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    return Effect.suspend(() => {
      this.isAtSavepoint = false
      return this.waiting.length === 0 ? run : Effect.zipRight(this.send(this.waiting.splice(0).join("; ")), run)
    })
  }

  /** What goes around statements of the body, `turn` around each; none is sent once it `hasEnded`. */
  private checked(turn: Around, hasEnded: () => boolean): AroundStatement {
    return (run, text, params) =>
      turn(
        Effect.suspend(() => {
          if (hasEnded() || this.isClosed) return refused(new StepHasEnded())
          const { encodes, forbidden } = this.looked(text, params)
          if (Option.isSome(forbidden)) return refused(forbidden.value)
          const noted = this.behindAbandoned(this.noted(text, params, run))
          return encodes ? Effect.zipLeft(noted, ClientEncoding.keep(this.wire)) : noted
        })
      )
  }

  private looked(text: string, params: ReadonlyArray<unknown>) {
    const { defines, encodes, forbidden, outlives, settings } = look(text, params)
    if (outlives) this.isChanged = true
    if (defines) this.plain.clear()
    for (const name of settings) this.ownSettings.add(name)
    return {
      encodes,
      forbidden: Option.isSome(forbidden) ? Option.some(this.violated(forbidden.value)) : this.violation
    }
  }

  /** The statement, which can be abandoned; that it was, that it failed, and that it ended the transaction, is noted. */
  private noted<A>(
    text: string,
    params: ReadonlyArray<unknown>,
    run: Effect.Effect<A, SqlError>
  ): Effect.Effect<A, SqlError> {
    const noting = abandonable(this.behindWaiting(run), (fiber) => {
      this.abandoned.note(fiber)
      this.failures++
      this.lastFailure = Option.some(sqlError(new Error("a statement was interrupted")))
    }).pipe(Effect.tapError((error) => this.noteFailure(error, params.length === 0 && text.includes(";"))))
    // Only a text of several statements can end the transaction: what a single one begins with was looked at.
    return params.length > 0 || !text.includes(";")
      ? noting
      : Effect.ensuring(
          noting,
          Effect.sync(() => {
            if (this.isBegun && Option.contains(DriverAccess.transactionStatus(this.wire), "I"))
              this.violated(inLongerText)
          })
        )
  }

  private noteFailure(error: SqlError, mayHaveEnded: boolean): Effect.Effect<unknown> {
    const state = sqlState(error)
    // Without a SQLSTATE the server did not answer: it never saw the statement, or the connection is gone.
    if (Option.isNone(state) || !this.isBegun) return Effect.void
    this.failures++
    if (state.value !== "25P02") this.lastFailure = Option.some(error)
    if (!mayHaveEnded) return Effect.void
    // After an error a transaction takes no statement (25P02): if the server takes one, there is no transaction any more.
    return Effect.match(abandonable(this.wire.executeRaw("SELECT 1", []), this.abandoned.note), {
      onSuccess: () => this.violated(inLongerText),
      onFailure: () => error
    })
  }

  /** What follows on an abandoned statement that does not end, such as the end of its savepoint, does not wait for it for ever. */
  private behindAbandoned<A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    if (this.abandoned.fibers.size === 0) return run
    return Effect.flatMap(this.settled, (over) =>
      over
        ? run
        : Effect.catchTag(BoundedWait.within(run, patience), "TimeoutException", () => {
            this.isBroken = true
            this.close()
            return refused(new StepHasEnded())
          })
    )
  }

  /** A part of the body: undone when it fails, and nothing of what it left running is sent after its end. */
  private inSavepoint<A, E, R>(
    step: PgStep["Type"],
    part: Effect.Effect<A, E, R>,
    options: SavepointOptions = {}
  ): Effect.Effect<A, E | DatabaseError, R> {
    const current = { step: this, ended: false }
    const nested: PgStep["Type"] = { ...step, savepoint: (inner, more) => this.inSavepoint(nested, inner, more) }
    const connection = withWholeStreams(
      decorate(
        this.wire,
        this.checked(identity, () => current.ended)
      )
    )
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function* () {
        yield* Effect.mapError(this.admit, writing)
        const { failures } = this
        const isOwn = !this.isAtSavepoint || options.begin !== undefined
        const name = isOwn ? `es_ops_${++this.savepoints}` : this.savepoint
        if (isOwn) yield* this.begin(name, options.begin)
        const exit = yield* Effect.exit(
          Effect.provide(restore(part), within(connection, nested).pipe(Context.add(CurrentSavepoint, current)))
        )
        current.ended = true
        yield* this.settled
        // The step is over meanwhile, and is undone as a whole.
        if (this.isClosed) return yield* exit
        const release = isOwn ? [`RELEASE SAVEPOINT ${name}`] : []
        if (Exit.isSuccess(exit) && options.keep !== false)
          yield* this.release(name, release, failures === this.failures)
        else {
          const undo = [`ROLLBACK TO SAVEPOINT ${name}`, ...release].join("; ")
          const undone = yield* this.toItsEnd(undo, (text) => this.sendInstead(text))
          // A part that failed keeps its own error: one of the savepoint only repeats it.
          if (Exit.isFailure(undone) && Exit.isSuccess(exit)) return yield* savepointIsGone()
        }
        return yield* exit
      })
    )
  }

  /** In one message with the release of the savepoint before it. A cancellation of it would hit the whole step. */
  private begin(name: string, statement: string | undefined): Effect.Effect<void, DatabaseError> {
    const text = [`SAVEPOINT ${name}`, statement ?? []].flat().join("; ")
    return this.toItsEnd(text, (all) => this.send(all)).pipe(
      Effect.flatten,
      Effect.mapError((error) => this.abortedBy(error)),
      Effect.asVoid
    )
  }

  private get admit(): Effect.Effect<void, SqlError> {
    return Effect.suspend(() =>
      this.isClosed
        ? refused(new StepHasEnded())
        : Option.match(this.violation, { onNone: () => Effect.void, onSome: (first) => refused(first) })
    )
  }

  /** Goes with the next text; but where a statement of the part failed, the transaction may take nothing any more: that is its own failure. */
  private release(name: string, release: ReadonlyArray<string>, isSound: boolean): Effect.Effect<void, DatabaseError> {
    if (isSound) return Effect.sync(() => void this.waiting.push(...release))
    return this.send(release[0] ?? "SELECT 1").pipe(
      Effect.mapError((error) => this.abortedBy(error)),
      Effect.tapError(() => Effect.ignore(this.sendInstead(`ROLLBACK TO SAVEPOINT ${name}`))),
      Effect.asVoid
    )
  }

  /** A text of ours around a part that is interrupted and does not end in time may be in the way of everything behind it. */
  private toItsEnd(
    text: string,
    send: (text: string) => Effect.Effect<Results, SqlError>
  ): Effect.Effect<Exit.Exit<Results, SqlError>> {
    return Effect.tap(toItsEnd(send(text), patience), (exit) =>
      Effect.sync(() => {
        if (!Exit.isInterrupted(exit)) return
        this.isBroken = true
        this.close()
      })
    )
  }

  /** A statement of ours that failed because one of the body had: the body's is the reason. */
  private abortedBy(error: SqlError): DatabaseError {
    return Option.contains(sqlState(error), "25P02")
      ? databaseError("going on after a statement that failed and was caught outside sql.withTransaction")(
          Option.getOrElse(this.lastFailure, () => error)
        )
      : writing(error)
  }
}

/** Runs a part in a savepoint of the step that the fiber is in, or `outside` where it is in none. */
export const savepoint =
  (outside: <A, E, R>(part: Effect.Effect<A, E, R>) => Effect.Effect<A, E | DatabaseError, R>) =>
  <A, E, R>(part: Effect.Effect<A, E, R>): Effect.Effect<A, E | DatabaseError, R> =>
    Effect.flatMap(
      Effect.serviceOption(PgStep),
      Option.match({ onNone: () => outside(part), onSome: (step) => step.savepoint(part) })
    )

/** By which statements go over this connection, in this step. */
const within = (connection: Connection, step: PgStep["Type"]) =>
  Context.make(PgStep, step).pipe(Context.add(SqlClient.TransactionConnection, [connection, 0]))

const identity: Around = (effect) => effect

const writing = databaseError("writing")

const refused = (cause: Error): Effect.Effect<never, SqlError> => Effect.fail(sqlError(cause))

const neverEnded = () =>
  new CommitRefused({
    code: Option.none(),
    reason: `a write or query that the seed left running did not end within ${settleTimeout}`
  })

const notUndone = () =>
  new CommitRefused({
    code: Option.none(),
    reason: "an interrupted write or query did not end in time, so that what it did cannot be undone by itself"
  })

const savepointIsGone = () =>
  databaseError("ending a query")(sqlError(new TransactionControl({ statement: "its savepoint is gone" })))

const resultsOf = (answer: unknown): Results =>
  (Array.isArray(answer) ? answer : [answer]).map((result: unknown) => ({
    command: Predicate.hasProperty(result, "command") ? result.command : undefined,
    rows: Predicate.hasProperty(result, "rows") && Array.isArray(result.rows) ? result.rows : []
  }))

/** A statement came after the end of its step or write: from a fiber that was left running. */
class StepHasEnded extends Schema.TaggedError<StepHasEnded>()("StepHasEnded", {}) {
  override get message(): string {
    return "the step or write that this statement belongs to is over"
  }
}
