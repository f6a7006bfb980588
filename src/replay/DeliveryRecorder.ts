/**
 * Records deliveries while others are under way: all that were handled since the last record go into one transaction.
 */
import * as Arr from "effect/Array"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { RunRefused } from "../operation/RunLog.js"
import type { Delivery } from "./Deliveries.js"
import { Deliveries, outcomeOf } from "./Deliveries.js"

/** What is told of deliveries. */
export interface DeliveryRecorder {
  readonly add: (delivery: Delivery) => Effect.Effect<void>
  /** Waits until all that was told is recorded. */
  readonly flush: Effect.Effect<void>
  /** Records; fails when the run is lost. */
  readonly keep: Effect.Effect<never, DatabaseError | RunRefused>
}

type Told =
  | { readonly _tag: "Delivered"; readonly delivery: Delivery }
  | { readonly _tag: "Flush"; readonly done: Deferred.Deferred<void> }

/** At most so many in one transaction. */
const most = 5000

/** A recorder of the deliveries of a lane. */
export const make = (handle: RunHandle, lane: string): Effect.Effect<DeliveryRecorder, never, Deliveries> =>
  Effect.gen(function* () {
    const deliveries = yield* Deliveries
    const queue = yield* Queue.unbounded<Told>()
    const record = (told: ReadonlyArray<Told>) =>
      Effect.gen(function* () {
        const delivered = told.flatMap((one) => (one._tag === "Delivered" ? [one.delivery] : []))
        if (Arr.isNonEmptyReadonlyArray(delivered)) {
          const count = (outcome: string) => delivered.filter((one) => outcomeOf(one) === outcome).length
          const counters = { delivered: count("delivered"), failed: count("failed"), skipped: count("skipped") }
          yield* handle.batch(
            Effect.as(deliveries.record(handle.id, delivered), {
              value: undefined,
              lane,
              done: delivered.length,
              counters
            })
          )
        }
        for (const one of told) if (one._tag === "Flush") yield* Deferred.succeed(one.done, undefined)
      })
    return {
      add: (delivery) => Queue.offer(queue, { _tag: "Delivered", delivery }),
      flush: Effect.flatMap(Deferred.make<void>(), (done) =>
        Effect.zipRight(Queue.offer(queue, { _tag: "Flush", done }), Deferred.await(done))
      ),
      keep: Effect.forever(
        Effect.flatMap(Queue.takeBetween(queue, 1, most), (told) => record(Chunk.toReadonlyArray(told)))
      )
    }
  })
