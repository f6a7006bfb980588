/**
 * Connections in use: lent by the application's client, with something around each of their statements, such as that its fiber can abandon it. An
 * abandoned statement is cancelled in the background, which takes the client a second connection (PostgreSQL manual, 54.2.8). One that takes long has
 * a watch beside it, which tells of what it waits for, and ends the wait.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BoundedWait from "../../operation/BoundedWait.js"
import * as DriverAccess from "./DriverAccess.js"
import { PgSession } from "./PgSession.js"
import { PgStep } from "./PgStep.js"

/** Goes around a statement, which it may refuse, delay or give up. */
export type AroundStatement = <A>(
  run: Effect.Effect<A, SqlError>,
  text: string,
  params: ReadonlyArray<unknown>
) => Effect.Effect<A, SqlError>

/** The connection with `around` around each statement, and around the beginning of each stream. */
export const decorate = (connection: Connection, around: AroundStatement): Connection => ({
  execute: (text, params, transform) => around(connection.execute(text, params, transform), text, params),
  executeRaw: (text, params) => around(connection.executeRaw(text, params), text, params),
  executeValues: (text, params) => around(connection.executeValues(text, params), text, params),
  executeUnprepared: (text, params, transform) =>
    around(connection.executeUnprepared(text, params, transform), text, params),
  executeStream: (text, params, transform) =>
    Stream.unwrap(
      around(
        Effect.sync(() => connection.executeStream(text, params, transform)),
        text,
        params
      )
    )
})

/**
 * The connection with each stream read whole before its first row is given: a cursor that is held open would keep the connection, and the
 * statement that its reader sends next would wait for ever.
 */
export const withWholeStreams = (connection: Connection): Connection => ({
  ...connection,
  executeStream: (text, params, transform) => Stream.fromIterableEffect(connection.execute(text, params, transform))
})

/** Takes the fiber in which an abandoned statement is being cancelled: until it ends, the cancellation may hit the next statement. */
export type Abandoned = (cancelling: Fiber.RuntimeFiber<unknown, unknown>) => void

/**
 * The abandoned statements of one connection: as long as one is being cancelled, the server may still be in it, and its cancellation may hit
 * whatever is sent next (PostgreSQL manual, 54.2.8), so the connection must not be another's.
 */
export class AbandonedStatements {
  /** The fibers of those that can still be in the way. */
  readonly fibers = new Set<Fiber.RuntimeFiber<unknown, unknown>>()

  /** Takes the fiber of one. */
  readonly note: Abandoned = (fiber) => {
    this.fibers.add(fiber)
    fiber.addObserver(() => this.fibers.delete(fiber))
  }

  /** Waits until none can be in the way, but not for long: false if one still may be. */
  settled(patience: Duration.DurationInput): Effect.Effect<boolean> {
    return Effect.suspend(() =>
      this.fibers.size === 0
        ? Effect.succeed(true)
        : BoundedWait.within(Fiber.awaitAll(this.fibers), patience).pipe(
            Effect.as(true),
            Effect.orElseSucceed(() => false)
          )
    )
  }
}

/**
 * The effect in a fiber of its own, which the one that waits for it can leave at once: what `left` does with it then is all that is waited for.
 */
export const apart = <A, E, R>(
  run: Effect.Effect<A, E, R>,
  left: (fiber: Fiber.RuntimeFiber<A, E>) => Effect.Effect<unknown>
): Effect.Effect<A, E, R> => begunApart((runtime) => begin(runtime, run), left)

/** The same for an effect that is begun so. The fiber is observed, which takes fewer operations than an effect that waits for its exit. */
const begunApart = <A, E, R>(
  begun: (runtime: Runtime.Runtime<R>) => Fiber.RuntimeFiber<A, E>,
  left: (fiber: Fiber.RuntimeFiber<A, E>) => Effect.Effect<unknown>
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.runtime<R>(), (runtime) => {
      const fiber = begun(runtime)
      return Effect.tapErrorCause(restore(exitOf(fiber)), (cause) =>
        Cause.isInterruptedOnly(cause) ? left(fiber) : Effect.void
      )
    })
  )

/** Begins the effect in a fiber of its own, which can be interrupted also where what began it cannot. */
const begin = <A, E, R>(runtime: Runtime.Runtime<R>, effect: Effect.Effect<A, E, R>): Fiber.RuntimeFiber<A, E> =>
  Runtime.runFork(runtime)(Effect.interruptible(effect), { immediate: false })

/** The exit of a fiber, waited for by whoever may be interrupted; the fiber is not. */
export const exitOf = <A, E>(fiber: Fiber.RuntimeFiber<A, E>): Effect.Effect<A, E> =>
  Effect.async((resume) => {
    fiber.addObserver(resume)
  })

/** The effect, which its fiber can abandon at once: it is interrupted in the background then. */
export const abandonable = <A, E, R>(run: Effect.Effect<A, E, R>, abandoned?: Abandoned): Effect.Effect<A, E, R> =>
  apart(run, (fiber) => {
    abandoned?.(fiber)
    return dismiss(fiber)
  })

/** The same connection, each statement of which can be abandoned. */
export const cancelling = (connection: Connection, abandoned?: Abandoned): Connection =>
  decorate(connection, (run) => abandonable(run, abandoned))

/** Lets go of a fiber that is not needed any more, without waiting for its end. */
export const dismiss: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => Effect.Effect<void> = Fiber.interruptAsFork(
  FiberId.none
)

/** When a watch begins at the soonest, and how often it is looked for one that is due: most statements are answered before that. */
export const watchDelay: Duration.Duration = Duration.millis(100)

/** One effect that is waited for. */
interface Waiting {
  readonly watch: Effect.Effect<unknown, unknown>
  /** With what its fiber has, such as the annotations of its logs. */
  readonly runtime: Runtime.Runtime<never>
  /** The beat from which on it takes long. */
  readonly due: number
  watching?: Fiber.RuntimeFiber<unknown, unknown>
}

/**
 * What goes beside effects once they take long, which most do not. One fiber counts the time for all of them, as long as there are any.
 */
export class Watches {
  private readonly waiting = new Set<Waiting>()
  private beats = 0
  /** The fiber that counts, while there is something to wait for. */
  private heart: Fiber.RuntimeFiber<unknown> | undefined
  private readonly beating = Effect.sync(() => this.beat()).pipe(
    Effect.delay(watchDelay),
    Effect.repeat({ while: (isNeeded) => isNeeded })
  )

  /** The clock of this runtime counts their time. */
  constructor(private readonly runtime: Runtime.Runtime<never>) {}

  /** Begins to wait: `watch` goes beside what takes long, in this runtime, until the answer is called, which has to be in any case. */
  private enter(watch: Effect.Effect<unknown, unknown>, runtime: Runtime.Runtime<never>): () => void {
    // Where there are beats already, the next may come at once.
    const one: Waiting = { watch, runtime, due: this.beats + (this.heart === undefined ? 1 : 2) }
    this.waiting.add(one)
    this.heart ??= Runtime.runFork(this.runtime)(Effect.interruptible(this.beating))
    return () => {
      this.waiting.delete(one)
      one.watching?.unsafeInterruptAsFork(FiberId.none)
    }
  }

  /** Once this fiber takes long, `watch` goes beside it, in this runtime. */
  around(
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    watch: Effect.Effect<unknown, unknown>,
    runtime: Runtime.Runtime<never>
  ): void {
    fiber.addObserver(this.enter(watch, runtime))
  }

  /** Runs `effect` until it ends or `watch` fails: then `close` has to end the connection that it waits for. */
  closing<A, E, R>(
    close: Effect.Effect<void>,
    watch: Effect.Effect<never, SqlError>,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | SqlError, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.runtime<never>(), (runtime) => {
        const { failed, watching } = ending(close, watch)
        const leave = this.enter(watching, runtime)
        return Effect.ensuring(restore(Effect.mapError(effect, failed)), Effect.sync(leave))
      })
    )
  }

  /** The same, apart: the connection is closed as well when this fiber leaves it. `effect` has it for its statements. */
  closingApart<A, E, R>(
    connection: Connection,
    watch: Effect.Effect<never, SqlError>,
    effect: Effect.Effect<A, E, R | SqlClient.TransactionConnection>
  ): Effect.Effect<A, E | SqlError, R> {
    return Effect.suspend(() => {
      const close = Effect.suspend(() => DriverAccess.disconnect(connection))
      const { failed, watching } = ending(close, watch)
      const begun = (runtime: Runtime.Runtime<R>) => {
        const fiber = begin(Runtime.provideService(runtime, SqlClient.TransactionConnection, [connection, 0]), effect)
        this.around(fiber, watching, runtime)
        return fiber
      }
      return Effect.mapError(
        begunApart(begun, (fiber) => Effect.zipRight(dismiss(fiber), close)),
        failed
      )
    })
  }

  /** The exit of a fiber that is not interrupted, or this failure where it takes that long. */
  within<A, E>(
    fiber: Fiber.RuntimeFiber<A, E>,
    patience: Duration.Duration,
    tooLong: () => E,
    runtime: Runtime.Runtime<never>
  ): Effect.Effect<A, E> {
    return Effect.async((resume) => {
      const watch = Effect.delay(
        Effect.sync(() => resume(Effect.failSync(tooLong))),
        Duration.subtract(patience, watchDelay)
      )
      this.around(fiber, watch, runtime)
      fiber.addObserver(resume)
    })
  }

  /** Ends them, with whatever goes beside an effect. */
  end(): void {
    this.heart?.unsafeInterruptAsFork(FiberId.none)
    for (const { watching } of this.waiting) watching?.unsafeInterruptAsFork(FiberId.none)
  }

  /** Begins what is due. False where nothing is waited for any more. */
  private beat(): boolean {
    this.beats++
    for (const one of this.waiting) {
      if (one.watching === undefined && one.due <= this.beats)
        one.watching = Runtime.runFork(one.runtime)(Effect.interruptible(one.watch))
    }
    if (this.waiting.size === 0) this.heart = undefined
    return this.waiting.size > 0
  }
}

/** What goes beside an effect once it takes long. */
export interface Beside {
  readonly watches: Watches
  readonly watch: Effect.Effect<unknown, unknown>
}

/** A watch that ends a connection when it fails, and what its failure makes of the one that the end of the connection brings about. */
const ending = (close: Effect.Effect<void>, watch: Effect.Effect<never, SqlError>) => {
  let failure: SqlError | undefined
  return {
    watching: Effect.catchAll(watch, (error) => {
      failure = error
      return close
    }),
    failed: <E>(error: E): E | SqlError => failure ?? error
  }
}

/** Those of an application: they end with its scope. */
export const makeWatches: Effect.Effect<Watches, never, Scope.Scope> = Effect.acquireRelease(
  Effect.map(Effect.runtime<never>(), (runtime) => new Watches(runtime)),
  (watches) => Effect.sync(() => watches.end())
)

/** A connection that was asked for. */
export interface Loan {
  /** The connection, once it is free; where the wait may be interrupted is for the borrower to say, and what follows on a statement that was. */
  readonly connection: Effect.Effect<Connection, SqlError>
  /** The same for statements that may be interrupted: it is closed then. One of a session is not, as what follows in it waits. */
  readonly leavable: Effect.Effect<Connection, SqlError>
  /** Whether it is that of the session that the fiber is in. */
  readonly isOfSession: boolean
  /** Gives it back, now or as soon as it is there; to be run in any case. */
  readonly giveBack: Effect.Effect<void>
}

/** How long to wait for a free connection of the pool before it is an error. */
const reserveTimeout = Duration.seconds(30)

const neverFree = () =>
  new SqlError({
    message: "Failed to acquire connection",
    cause: new Error(`no connection of the pool became free within ${Duration.toSeconds(reserveTimeout)} seconds`)
  })

/**
 * Asks for a connection in a fiber of its own, which cannot be interrupted: a client whose `reserve` is interrupted while it waits loses the
 * connection for ever. A connection that comes too late for its borrower goes back to the pool.
 */
export const lendOf = (client: SqlClient.SqlClient, watches: Watches): Effect.Effect<Loan> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const runtime = yield* Effect.runtime<never>()
      const scope = yield* Scope.make()
      const session = Context.getOption(runtime.context, PgSession)
      const reserve = Option.match(session, { onNone: () => client.reserve, onSome: (own) => own.reserve })
      const reserving = Runtime.runFork(Runtime.provideService(runtime, Scope.Scope, scope))(reserve, {
        immediate: false
      })
      const close = Scope.close(scope, Exit.void)
      const connection = Option.isSome(session)
        ? exitOf(reserving)
        : watches.within(reserving, reserveTimeout, neverFree, runtime)
      return {
        connection,
        isOfSession: Option.isSome(session),
        leavable: Option.isSome(session) ? connection : Effect.map(connection, leavable),
        giveBack: Effect.suspend(() =>
          reserving.unsafePoll() === null
            ? Effect.asVoid(Effect.forkDaemon(Effect.zipRight(Fiber.await(reserving), close)))
            : close
        )
      }
    })
  )

/**
 * The connection, each statement of which can be left at once. When its cancellation comes, and what it hits then, is not ours to know: it may have to
 * wait for a connection itself (PostgreSQL manual, 54.2.8). So this one is closed: nobody gets it with a statement or a cancellation under way, nor
 * inside a transaction. Streams are read whole, as the close of a cursor waits for its statement.
 */
const leavable = (own: Connection): Connection => {
  const left = <A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    apart(run, (fiber) => Effect.zipRight(dismiss(fiber), DriverAccess.disconnect(own)))
  return {
    // The driver stays where it is found.
    ...own,
    execute: (...statement) => left(own.execute(...statement)),
    executeRaw: (...statement) => left(own.executeRaw(...statement)),
    executeValues: (...statement) => left(own.executeValues(...statement)),
    executeUnprepared: (...statement) => left(own.executeUnprepared(...statement)),
    executeStream: (...statement) =>
      Stream.unwrap(Effect.map(left(Stream.runCollect(own.executeStream(...statement))), Stream.fromChunk))
  }
}

/** What lends connections. */
export interface Lender {
  /** Asks for a connection of the application's client, or for the one of the session that the fiber is in. */
  readonly lend: Effect.Effect<Loan>
  /** What goes beside statements that take long. */
  readonly watches: Watches
}

/** Runs `effect` with `connection` for its statements. */
export const over =
  (connection: Connection) =>
  <A, E, R>(effect: Effect.Effect<A, E, R | SqlClient.TransactionConnection>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, SqlClient.TransactionConnection, [connection, 0])

/** Sends a statement as it is on that connection, without a span of the client's: for what has one of its own, and is all that it sends. */
export const send = (text: string): Effect.Effect<ReadonlyArray<unknown>, SqlError, SqlClient.TransactionConnection> =>
  Effect.flatMap(SqlClient.TransactionConnection, ([connection]) => connection.execute(text, [], undefined))

/**
 * Runs `effect` on a connection of its own, outside any transaction of its fiber. When `watch` fails, which goes beside it, the connection is closed
 * and its failure is the answer.
 */
export const alone =
  ({ lend, watches }: Lender, watch?: Effect.Effect<never, SqlError>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R | SqlClient.TransactionConnection>): Effect.Effect<A, E | SqlError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(lend, ({ connection, giveBack, isOfSession, leavable: own }) =>
        Effect.ensuring(
          restore(
            watch === undefined
              ? Effect.flatMap(own, (lent) => over(lent)(effect))
              : Effect.flatMap(connection, (lent) =>
                  isOfSession
                    ? watches.closing(closeOf(lent), watch, over(lent)(effect))
                    : watches.closingApart(lent, watch, effect)
                )
          ),
          giveBack
        )
      )
    )

/** The end of a connection that was lent: a session's is its own to end. */
const closeOf = (lent: Connection): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.serviceOption(PgSession),
    Option.match({ onNone: () => DriverAccess.disconnect(lent), onSome: ({ disconnect }) => disconnect })
  )

/** How long statements wait for a table that another session has locked. */
interface Patience {
  /** Tells of the wait, and fails when it was too long. */
  readonly bounded: Effect.Effect<never, SqlError>
  /** Only tells of it. */
  readonly told: Effect.Effect<never, SqlError>
  /** Around statements outside any transaction. */
  readonly outside: <A>(statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>
}

/** Makes statements wait so, wherever their fiber is. */
export const patient =
  (watches: Watches, { bounded, outside, told }: Patience) =>
  <A>(statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.flatMap(Effect.context<never>(), (context) => {
      // A write in a session is a step on a connection that only the session can close.
      const session = Context.getOption(context, PgSession)
      if (Option.isSome(session)) {
        const { closedFor, disconnect } = session.value
        const noted = Effect.tapError(bounded, (failure) => Effect.sync(() => closedFor(failure)))
        return watches.closing(disconnect, noted, statement)
      }
      const step = Context.getOption(context, PgStep)
      if (Option.isSome(step)) return step.value.watched(bounded, statement)
      return Option.isSome(Context.getOption(context, SqlClient.TransactionConnection))
        ? watches.closing(Effect.void, told, statement)
        : outside(statement)
    })

/**
 * Waits for `effect` to its end, also when the waiting fiber is interrupted: for a statement that must not be left in the middle. After an
 * interruption it has `patience` to end; what it came to is the answer then, and the interruption where it did not end.
 */
export const toItsEnd = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  patience: Duration.DurationInput,
  beside?: Beside
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.uninterruptible(
    Effect.flatMap(Effect.runtime<R>(), (runtime) => {
      const fiber = begin(runtime, effect)
      beside?.watches.around(fiber, beside.watch, runtime)
      return Effect.matchCauseEffect(Effect.interruptible(exitOf(fiber)), {
        onSuccess: (value) => Effect.succeed(Exit.succeed(value)),
        onFailure: (cause) =>
          Cause.isInterrupted(cause)
            ? BoundedWait.within(Fiber.await(fiber), patience).pipe(
                Effect.orElse(() => Effect.as(dismiss(fiber), Exit.failCause(cause)))
              )
            : Effect.succeed(Exit.failCause(cause))
      })
    })
  )
