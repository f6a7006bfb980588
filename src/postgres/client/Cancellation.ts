/**
 * What is on the wire, which whoever waits for it can leave at once: the driver cancels it behind their back, which takes a second connection.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"

/** Told of the fiber that sees to what was left: when it ends, nothing of that can hit the next statement any more. */
export type Left = (fiber: Fiber.RuntimeFiber<unknown, unknown>) => void

/** How long something on the wire may take behind a statement that was left. */
const patience = "1 second"

/** Waits that long for `run`, wherever it stands, and then leaves it. */
export const inTime = <A, E>(
  run: Effect.Effect<A, E>,
  duration: Duration.DurationInput = patience
): Effect.Effect<A, E | Cause.TimeoutException> =>
  run.pipe(Effect.interruptible, Effect.disconnect, Effect.interruptible, Effect.timeout(duration))

/** Anything on the wire. Run on this very stack and watched, which takes 1 µs; forked and joined it takes 6. */
export const abandonable = <A, E>(run: Effect.Effect<A, E>, left?: Left): Effect.Effect<A, E> =>
  Effect.flatMap(Effect.runtime(), (runtime) =>
    Effect.async<A, E>((resume) => {
      const fiber = Runtime.runFork(runtime)(Effect.interruptible(run), { immediate: true })
      fiber.addObserver(resume)
      return Effect.sync(() => {
        left?.(fiber)
        fiber.unsafeInterruptAsFork(fiber.id())
      })
    })
  )

/** The same connection, every statement of which can be left. */
export const leaving = (connection: Connection, left?: Left): Connection & { readonly pg: unknown } =>
  isClients(connection) ? ofClient(connection, left) : ofAny(connection, left)

const ofAny = (connection: Connection, left?: Left): ReturnType<typeof leaving> => ({
  pg: Predicate.hasProperty(connection, "pg") ? connection.pg : undefined,
  execute: (text, params, transform) => abandonable(connection.execute(text, params, transform), left),
  executeRaw: (text, params) => abandonable(connection.executeRaw(text, params), left),
  executeValues: (text, params) => abandonable(connection.executeValues(text, params), left),
  executeUnprepared: (text, params, transform) =>
    abandonable(connection.executeUnprepared(text, params, transform), left),
  executeStream: (text, params, transform) => connection.executeStream(text, params, transform)
})

const ofClient = (connection: ClientConnection, left?: Left): ReturnType<typeof leaving> => {
  const { pg } = connection
  const execute: Connection["execute"] = (text, params, transform) => {
    const rows = ask(connection, rowsOf, (done) => pg.query(text, params, done), { left })
    return transform === undefined ? rows : Effect.map(rows, transform)
  }
  return {
    pg,
    execute,
    executeRaw: (text, params) => ask(connection, identity, (done) => pg.query(text, params, done), { left }),
    executeValues: (text, params) => abandonable(connection.executeValues(text, params), left),
    executeUnprepared: execute,
    executeStream: (text, params, transform) => connection.executeStream(text, params, transform)
  }
}

/** The connection of a `PgClient`: while what is asked of its driver is under way, whoever is interrupted has it cancelled. */
export interface ClientConnection extends Connection {
  readonly pg: { readonly query: (text: string, params: ReadonlyArray<unknown>, done: Done) => unknown }
  readonly runWithClient: <A>(
    ask: (driver: unknown, resume: (answer: Answer<A>) => void) => void
  ) => Effect.Effect<A, SqlError>
}

/** Told how a statement ended. */
export type Done = (error: unknown, results?: unknown) => void

type Answer<A> = Effect.Effect<A, SqlError>

/** Whether it is one: not of a class of its own around it, and with none of the ways to the driver replaced. */
export const isClients = (connection: Connection): connection is ClientConnection => {
  const prototype: unknown = Object.getPrototypeOf(connection)
  return (
    hasFunctions(prototype, ["runWithClient", ...direct]) &&
    direct.every((name) => prototype[name] === connection[name]) &&
    Predicate.hasProperty(connection, "pg") &&
    hasFunctions(connection.pg, ["query"])
  )
}

const direct = ["execute", "executeRaw", "executeUnprepared"] as const

/**
 * What `submit` asks of the client's driver. Who leaves before it has `begun` has it cancelled only then. A fiber, which is what can be left, is
 * made for who leaves only: one for each statement made single writes dearer by 6 %, as V8 keeps what such a fiber closes over in old space.
 */
export const ask = <A>(
  connection: ClientConnection,
  read: (results: unknown) => A,
  submit: (done: Done) => void,
  { begun = Effect.void, left }: { readonly begun?: Effect.Effect<void>; readonly left?: Left | undefined } = {}
): Effect.Effect<A, SqlError> =>
  Effect.async<A, SqlError>((resume) => {
    let answer: Answer<A> | undefined
    let tell = resume
    submit((error, results) => {
      answer = Predicate.isNotNullable(error)
        ? Effect.fail(new SqlError({ cause: error, message: "Failed to execute statement" }))
        : Effect.succeed(read(results))
      tell(answer)
    })
    return Effect.sync(() => {
      if (answer !== undefined) return
      const answered = connection.runWithClient<A>((_, resumeLate) => {
        tell = resumeLate
        if (answer !== undefined) tell(answer)
      })
      // Interrupted where it waits for the answer, and not before: that is when the client has it cancelled.
      const cancelled = Effect.suspend(() => Fiber.interrupt(Effect.runFork(answered)))
      const fiber = Effect.runFork(Effect.zipRight(begun, cancelled))
      left?.(fiber)
    })
  })

/** The rows of a result as the client gives them: of a text of several statements, those of each. */
const rowsOf = (results: unknown): ReadonlyArray<object> =>
  Array.isArray(results) ? results.map(rowsOfOne) : rowsOfOne(results)

const rowsOfOne = (result: unknown): ReadonlyArray<object> =>
  Predicate.hasProperty(result, "rows") && areRows(result.rows) ? result.rows : []

/** What the driver gives in a list are rows. */
const areRows = (value: unknown): value is ReadonlyArray<object> => Array.isArray(value)

/** Whether a value has functions of these names. */
export const hasFunctions = <const K extends string>(
  value: unknown,
  names: ReadonlyArray<K>
): value is Readonly<Record<K, (...args: ReadonlyArray<never>) => unknown>> =>
  names.every((name) => Predicate.hasProperty(value, name) && Predicate.isFunction(value[name]))
