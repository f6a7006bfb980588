/**
 * A mutex lets one fiber in at a time, in the order in which they came; a fiber that waits can be interrupted. A semaphore of Effect with one
 * permit wakes every waiting fiber each time, and the one that came last can wait for ever.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** A mutex: what runs through it runs alone. */
export interface Mutex {
  /** Runs an effect alone. */
  readonly alone: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Holds the mutex until the scope is closed. */
  readonly scoped: Effect.Effect<void, never, Scope.Scope>
  /** Whether no effect runs alone, hence none waits. */
  readonly isFree: () => boolean
}

interface Waiter {
  /** Whether it is its turn: it has to call the next one then, even if it is interrupted at this very moment. */
  called: boolean
  call: () => void
}

/** Makes a mutex that is free. */
export const make = (): Mutex => {
  let free = true
  const waiting = new Set<Waiter>()

  const next = Effect.sync(() => {
    const [first] = waiting
    if (first === undefined) free = true
    else {
      waiting.delete(first)
      first.called = true
      first.call()
    }
  })

  const called = (waiter: Waiter): Effect.Effect<void> =>
    Effect.async((resume) => {
      waiter.call = () => resume(Effect.void)
      waiting.add(waiter)
      return Effect.sync(() => waiting.delete(waiter))
    })

  /** Waits by `restore`, until `next` gives the turn on. */
  const enter = (restore: <A>(effect: Effect.Effect<A>) => Effect.Effect<A>): Effect.Effect<void> => {
    if (free) {
      free = false
      return Effect.void
    }
    const waiter: Waiter = { called: false, call: () => undefined }
    return Effect.onError(restore(called(waiter)), () => (waiter.called ? next : Effect.void))
  }

  return {
    isFree: () => free,
    alone: (effect) =>
      Effect.uninterruptibleMask((restore) => Effect.zipRight(enter(restore), Effect.ensuring(restore(effect), next))),
    scoped: Effect.uninterruptibleMask((restore) =>
      Effect.zipRight(
        enter(restore),
        Effect.addFinalizer(() => next)
      )
    )
  }
}
