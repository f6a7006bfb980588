/**
 * The savepoint around a write: what tells a dispatcher that a write which it refuses is undone by the one that asked for it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Transactor } from "../operation/Transactor.js"
import type { WriteDispatcher } from "./WriteDispatcher.js"

/** There while the next write is the whole of a savepoint; the write takes it away for what it asks for itself. */
export class WriteSavepoint extends Context.Tag("effect-es-ops/WriteSavepoint")<WriteSavepoint, true>() {}

/** Runs a write without the note: a write of a handler's own has to be undone by itself. */
export const taken = <A, E, R>(write: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(write, (context: Context.Context<R>) => withoutNote(context))

function withoutNote<R>(context: Context.Context<R>): Context.Context<R>
function withoutNote(context: Context.Context<unknown>): Context.Context<never> {
  return Context.omit(WriteSavepoint)(context)
}

/** A dispatcher of an application's own, each write of which is a savepoint: outside a transaction, a transaction of its own. */
export const around = (
  transactor: Pick<Transactor["Type"], "savepoint">,
  own: WriteDispatcher["Type"]
): WriteDispatcher["Type"] => {
  const { writeAll } = own
  const atomic = <A, E, R>(write: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Effect.serviceOption(WriteSavepoint), ({ _tag }) =>
      _tag === "Some" ? taken(write) : transactor.savepoint(write)
    )
  return {
    names: own.names,
    transactionId: own.transactionId,
    write: (request) => atomic(Effect.suspend(() => own.write(request))),
    writeAll:
      writeAll === undefined ? undefined : (request) => atomic(Effect.suspend(() => writeAll.call(own, request)))
  }
}
