/**
 * The lock that lets one replica at a time run an operation, and the marker as it is under that lock.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as MemoryDatabase from "./memory/MemoryDatabase.js"
import type { OperationId } from "./Operation.js"
import type { DatabaseError } from "./OperationError.js"
import { AlreadyApplied, LockHeld, LockHolder, outsideStep } from "./OperationError.js"
import { MemoryLog } from "./OperationLog.js"
import { MemoryStep } from "./Transactor.js"
import { Replica } from "./Replica.js"

/** The port of the lock. */
export class OperationLock extends Context.Tag("effect-es-ops/OperationLock")<
  OperationLock,
  {
    /**
     * One attempt at the lock and the re-read of the marker, inside `Transactor.run` or `Transactor.session`. From here on a step that is a
     * transaction can be undone to this point. The lock is released when the transaction, or the session, ends.
     */
    readonly claim: (id: OperationId) => Effect.Effect<void, LockHeld | AlreadyApplied | DatabaseError>
    /**
     * What `claim` would find at the moment, asked outside any step: fails as it would, and takes nothing. For whoever waits, since an attempt is
     * a transaction.
     */
    readonly probe: (id: OperationId) => Effect.Effect<void, LockHeld | AlreadyApplied | DatabaseError>
    /** Who holds the lock at the moment. */
    readonly holder: Effect.Effect<Option.Option<LockHolder>, DatabaseError>
    /**
     * Whether everything is there that a step needs. What is missing is created by the next `claim` that gets the lock; while another has it,
     * and there is no marker yet that could be read, this fails with `LockHeld`.
     */
    readonly ready: (id: OperationId) => Effect.Effect<boolean, LockHeld | DatabaseError>
  }
>() {}

/** The lock of a `MemoryDatabase`. */
export const layerMemory: Layer.Layer<OperationLock, never, MemoryDatabase.MemoryDatabase | Replica> = Layer.effect(
  OperationLock,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const replica = yield* Replica
    const log = MemoryDatabase.view(database, MemoryLog, MemoryLog.empty)
    const self = new LockHolder({ pid: replica.pid, applicationName: "es-ops", since: Option.none() })
    const refuse = Effect.fnUntraced(function* (id: OperationId, holder: Option.Option<LockHolder>) {
      const { markers } = yield* log.get
      if (markers.some((marker) => marker.id === id)) return yield* new AlreadyApplied({ id })
      if (Option.isSome(holder)) return yield* new LockHeld({ id, holder })
    })
    return OperationLock.of({
      ready: () => Effect.succeed(true),
      holder: Ref.get(database.lock),
      probe: Effect.fn("OperationLock.probe")(function* (id) {
        yield* refuse(id, yield* Ref.get(database.lock))
      }),
      claim: Effect.fn("OperationLock.claim")(function* (id) {
        const step = yield* Effect.serviceOption(MemoryStep)
        if (Option.isNone(step)) return yield* outsideStep("claiming the lock")
        const holder = yield* Ref.getAndUpdate(
          database.lock,
          Option.orElseSome(() => self)
        )
        if (Option.isNone(holder)) yield* step.value.claimed
        yield* refuse(id, holder)
      })
    })
  })
)
