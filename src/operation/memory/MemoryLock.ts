/**
 * `OperationLock` of a `MemoryDatabase`: a step that claims it has it until it ends.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { OperationId } from "../Operation.js"
import { AlreadyApplied, LockHeld, LockHolder } from "../OperationError.js"
import { outsideStep } from "../OutsideStep.js"
import { OperationLock } from "../OperationLock.js"
import { Replica } from "../Replica.js"
import * as MemoryDatabase from "./MemoryDatabase.js"
import * as MemoryLog from "./MemoryLog.js"
import { MemoryStep } from "./MemoryStep.js"

/** The lock of a `MemoryDatabase`. */
export const layer: Layer.Layer<OperationLock, never, MemoryDatabase.MemoryDatabase | Replica> = Layer.effect(
  OperationLock,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const replica = yield* Replica
    const log = MemoryLog.viewOf(database)
    const inStep = (id: OperationId, now: number) =>
      new LockHolder({
        pid: replica.pid,
        applicationName: `es-ops ${replica.host} ${id}`,
        since: Option.some(DateTime.formatIso(DateTime.unsafeMake(now)))
      })
    const refuse = Effect.fnUntraced(function* (id: OperationId, holder: Option.Option<LockHolder>) {
      const { markers } = yield* log.get
      if (markers.some((marker) => marker.id === id)) return yield* new AlreadyApplied({ id })
      if (Option.isSome(holder)) return yield* new LockHeld({ id, holder })
    })
    return OperationLock.of({
      ready: () => Effect.succeed(true),
      lacksColumns: Effect.succeed(false),
      holder: Ref.get(database.lock),
      probe: Effect.fnUntraced(function* (id) {
        yield* refuse(id, yield* Ref.get(database.lock))
      }),
      claim: Effect.fnUntraced(function* (id) {
        const step = yield* Effect.serviceOption(MemoryStep)
        if (Option.isNone(step)) return yield* outsideStep("claiming the lock")
        const now = yield* Clock.currentTimeMillis
        const holder = yield* Ref.getAndUpdate(
          database.lock,
          Option.orElseSome(() => inStep(id, now))
        )
        if (Option.isNone(holder)) yield* step.value.claimed
        yield* refuse(id, holder)
      })
    })
  })
)
