/**
 * The cancellation of statements. A fiber that waits for one can go on at once when it is interrupted: the client cancels the statement in the
 * background, which takes a second connection (PostgreSQL manual, 54.2.8).
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { decorate } from "./ConnectionDecorator.js"

/** Takes the fiber in which an abandoned statement is being cancelled: until it ends, the cancellation may hit the next statement. */
export type Abandoned = (cancelling: Fiber.RuntimeFiber<unknown, unknown>) => void

/** The effect, which its fiber can abandon at once: it is interrupted in the background then. */
export const abandonable = <A, E, R>(run: Effect.Effect<A, E, R>, abandoned?: Abandoned): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
      Effect.onInterrupt(restore(Fiber.join(fiber)), () => {
        abandoned?.(fiber)
        return Fiber.interruptFork(fiber)
      })
    )
  )

/** The same connection, each statement of which can be abandoned. */
export const cancelling = (connection: Connection, abandoned?: Abandoned): Connection =>
  decorate(connection, (run) => abandonable(run, abandoned))
