/**
 * Decorated connections: the same connection, with something around each of its statements, such as that its fiber can abandon it. An abandoned
 * statement is cancelled in the background, which takes the client a second connection (PostgreSQL manual, 54.2.8). One that takes long has a watch
 * beside it, which tells of what it waits for, and ends the wait.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as BoundedWait from "../../operation/BoundedWait.js"
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

/** The effect, which its fiber can abandon at once: it is interrupted in the background then. */
export const abandonable = <A, E, R>(run: Effect.Effect<A, E, R>, abandoned?: Abandoned): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
      Effect.onInterrupt(restore(Effect.flatten(Fiber.await(fiber))), () => {
        abandoned?.(fiber)
        return dismiss(fiber)
      })
    )
  )

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
  /** The beat from which on it takes long. */
  readonly due: number
  watching?: Fiber.RuntimeFiber<unknown, unknown>
}

/**
 * What goes beside effects once they take long, which most do not. One fiber counts the time for all of them: a fiber and a timer for each were a fifth
 * of a write.
 */
export class Watches {
  private readonly waiting = new Set<Waiting>()
  private beats = 0
  private isBeating = false
  private heart: Fiber.RuntimeFiber<never> | undefined

  /** Runs `effect`, and beside it `watch` once it takes long. */
  beside<A, E, R>(watch: Effect.Effect<unknown, unknown>, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      // Where there are beats already, the next may come at once.
      const one: Waiting = { watch, due: this.beats + (this.isBeating ? 2 : 1) }
      this.waiting.add(one)
      const run = Effect.ensuring(
        restore(effect),
        Effect.suspend(() => this.leave(one))
      )
      return this.isBeating ? run : Effect.zipRight(this.begin, run)
    })
  }

  /** Runs `effect` until it ends or `watch` fails: then `close` has to end the connection that it waits for. */
  closing<A, E, R>(
    close: Effect.Effect<void>,
    watch: Effect.Effect<never, SqlError>,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | SqlError, R> {
    return Effect.suspend(() => {
      let failure: SqlError | undefined
      const watching = Effect.catchAll(watch, (error) => {
        failure = error
        return close
      })
      return this.beside(
        watching,
        Effect.mapError(effect, (error) => failure ?? error)
      )
    })
  }

  /** Ends them, with whatever goes beside an effect. */
  end(): void {
    this.heart?.unsafeInterruptAsFork(FiberId.none)
  }

  private get begin(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isBeating = true
      const beats = Effect.forever(Effect.zipRight(Effect.sleep(watchDelay), this.beat))
      return Effect.map(Effect.forkDaemon(Effect.interruptible(beats)), (heart) => {
        this.heart = heart
      })
    })
  }

  private get beat(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.beats++
      const late = [...this.waiting].filter(({ due, watching }) => watching === undefined && due <= this.beats)
      return Effect.forEach(
        late,
        (one) =>
          Effect.map(Effect.fork(one.watch), (watching) => {
            one.watching = watching
          }),
        { discard: true }
      )
    })
  }

  private leave(one: Waiting): Effect.Effect<void> {
    this.waiting.delete(one)
    return one.watching === undefined ? Effect.void : dismiss(one.watching)
  }
}

/** Runs one effect until it ends or `watch` fails: then `close` has to end the connection that it waits for. */
export const watched = <A, E, R>(
  close: Effect.Effect<void>,
  watch: Effect.Effect<never, SqlError>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Effect.suspend(() => {
    const watches = new Watches()
    return Effect.ensuring(
      watches.closing(close, watch, effect),
      Effect.sync(() => watches.end())
    )
  })

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
  ({ bounded, outside, told }: Patience) =>
  <A>(statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.flatMap(Effect.context<never>(), (context) => {
      // A write in a session is a step on a connection that only the session can close.
      const session = Context.getOption(context, PgSession)
      if (Option.isSome(session)) {
        const { closedFor, disconnect } = session.value
        const noted = Effect.tapError(bounded, (failure) => Effect.sync(() => closedFor(failure)))
        return watched(disconnect, noted, statement)
      }
      const step = Context.getOption(context, PgStep)
      if (Option.isSome(step)) return step.value.watched(bounded, statement)
      return Option.isSome(Context.getOption(context, SqlClient.TransactionConnection))
        ? watched(Effect.void, told, statement)
        : outside(statement)
    })

/**
 * Waits for `effect` to its end, also when the waiting fiber is interrupted: for a statement that must not be left in the middle. After an
 * interruption it has `patience` to end; what it came to is the answer then, and the interruption where it did not end.
 */
export const toItsEnd = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  patience: Duration.DurationInput
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.uninterruptible(
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), (fiber) =>
      Effect.matchCauseEffect(Effect.interruptible(Fiber.await(fiber)), {
        onSuccess: Effect.succeed,
        onFailure: (interruption) =>
          BoundedWait.within(Fiber.await(fiber), patience).pipe(
            Effect.orElse(() => Effect.as(dismiss(fiber), Exit.failCause(interruption)))
          )
      })
    )
  )
