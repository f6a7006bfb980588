/**
 * The wait for the operations lock makes the whole attempt again by a schedule, so that nothing is held meanwhile.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import { OperationConfig } from "./OperationConfig.js"
import { LockHeld, LockTimeout } from "./OperationError.js"

/** A `lockTimeout` of no more than this asks soon at first, whatever is expected. */
const patient = Duration.seconds(5)

/** A replica that waits asks at least this often. */
export const longest: Duration.Duration = Duration.millis(500)

/** When to ask first where nothing is known of the replica that is at work. */
export const soonest: Duration.Duration = Duration.millis(50)

/** Asks at that pace; jittered, so that replicas do not ask all at once. */
export const steadily: Schedule.Schedule<unknown> = Schedule.jitteredWith(Schedule.spaced(longest), {
  min: 0.8,
  max: 1
})

/**
 * Asks after `first` or a little later, as what is expected then is not there before; then after twice as long each time, and steadily in the
 * end. Each attempt of a replica that waits costs the one that is at work something. Delays are whole milliseconds.
 */
const polling = (first: Duration.Duration): Schedule.Schedule<unknown> =>
  Schedule.union(Schedule.jitteredWith(Schedule.exponential(first, 2), { min: 1, max: 1.2 }), steadily).pipe(
    Schedule.modifyDelay((_, delay) => Duration.millis(Math.round(Duration.toMillis(delay))))
  )

/** Bounds a schedule: its last delay is what is left of `bound`. */
export const within = (schedule: Schedule.Schedule<unknown>, bound: Duration.Duration): Schedule.Schedule<unknown> =>
  Schedule.intersect(schedule, Schedule.elapsed).pipe(
    Schedule.whileOutput(([, elapsed]) => Duration.lessThan(elapsed, bound)),
    Schedule.modifyDelay(([, elapsed], delay) => Duration.min(delay, Duration.subtract(bound, elapsed)))
  )

/** A wait is logged at once, then this often. */
export const mentionEvery = Duration.seconds(10)

/** Whether another holds the lock. */
export const isLockHeld = (error: unknown): error is LockHeld => error instanceof LockHeld

/** The options of a wait. */
interface WaitOptions<A, E, R> {
  /** The attempts after the first; the same if absent. */
  readonly later?: Effect.Effect<A, E, R> | undefined
}

/** Makes `attempt` again while another holds the lock, for as long as `lockTimeout`: 0 is one attempt. `onHeld` sees each that found it taken. */
export const whileHeld = <A, E, R>(
  id: string,
  attempt: Effect.Effect<A, E | LockHeld, R>,
  onHeld: (held: LockHeld) => Effect.Effect<void>,
  { later = attempt }: WaitOptions<A, E | LockHeld, R> = {}
): Effect.Effect<A, Exclude<E | LockHeld, LockHeld> | LockTimeout, R | OperationConfig> =>
  Effect.catchIf(attempt, isLockHeld, (held) => afterHeld(id, held, later, onHeld))

/** Does the same after a first attempt that found the lock taken; `attempt` are those after it. */
export const afterHeld = <A, E, R>(
  id: string,
  first: LockHeld,
  attempt: Effect.Effect<A, E | LockHeld, R>,
  onHeld: (held: LockHeld) => Effect.Effect<void>,
  expected: Effect.Effect<Duration.Duration> = Effect.succeed(soonest)
): Effect.Effect<A, Exclude<E | LockHeld, LockHeld> | LockTimeout, R | OperationConfig> =>
  Effect.gen(function* () {
    const { lockTimeout } = yield* OperationConfig
    const startedAt = yield* Clock.currentTimeMillis
    const isFirst = yield* Ref.make(true)
    const mentionedAt = yield* Ref.make(Option.none<number>())
    const waitedMs = Effect.map(Clock.currentTimeMillis, (now) => Math.round(now - startedAt))

    const mention = (held: LockHeld) =>
      Effect.gen(function* () {
        const waited = yield* waitedMs
        const last = yield* Ref.get(mentionedAt)
        if (Option.exists(last, (at) => waited - at < Duration.toMillis(mentionEvery))) return
        yield* Ref.set(mentionedAt, Option.some(waited))
        yield* Effect.logInfo(`"${id}" waits, ${Math.round(waited / 1000)} s so far: ${held.message}`)
      })

    const next = Effect.flatMap(Ref.getAndSet(isFirst, false), (isGiven) => (isGiven ? Effect.fail(first) : attempt))
    const soon = Duration.greaterThan(lockTimeout, patient) ? yield* expected : soonest
    const schedule = Duration.equals(lockTimeout, Duration.zero) ? Schedule.stop : within(polling(soon), lockTimeout)
    return yield* next.pipe(
      Effect.tapError((error) => (isLockHeld(error) ? Effect.zipRight(onHeld(error), mention(error)) : Effect.void)),
      Effect.retry({ schedule, while: isLockHeld }),
      Effect.catchIf(isLockHeld, ({ holder, table }) =>
        Effect.flatMap(waitedMs, (waited) => Effect.fail(new LockTimeout({ id, holder, waitedMs: waited, table })))
      )
    )
  })
