/**
 * A database in memory is one value in one `Ref`, of which every port's memory layer is a view. A step that fails has that value put back, so a
 * rollback undoes every view at once.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { LockHolder } from "../OperationError.js"

/** The database itself: its state, and its lock. */
export class MemoryDatabase extends Context.Tag("effect-es-ops/MemoryDatabase")<
  MemoryDatabase,
  {
    /** Everything that is stored, by the tag of its view. */
    readonly state: Ref.Ref<Context.Context<never>>
    /** The holder of the operations lock; not part of the state, as a lock is not undone by a rollback. */
    readonly lock: Ref.Ref<Option.Option<LockHolder>>
  }
>() {}

/** A part of the database under a name of its own. */
export interface View<A> {
  readonly get: Effect.Effect<A>
  readonly update: (f: (value: A) => A) => Effect.Effect<void>
}

/** The part of `database` that `tag` names, `initial` until it is first written. */
export const view = <I, A>(database: MemoryDatabase["Type"], tag: Context.Tag<I, A>, initial: A): View<A> => {
  const read = (state: Context.Context<never>): A => Option.getOrElse(Context.getOption(state, tag), () => initial)
  return {
    get: Effect.map(Ref.get(database.state), read),
    update: (f) => Ref.update(database.state, (state) => Context.merge(state, Context.make(tag, f(read(state)))))
  }
}

/** Provides an empty database. Layers that are to see each other's writes share one. */
export const layer: Layer.Layer<MemoryDatabase> = Layer.effect(
  MemoryDatabase,
  Effect.all({
    state: Ref.make(Context.empty()),
    lock: Ref.make(Option.none<LockHolder>())
  })
)
