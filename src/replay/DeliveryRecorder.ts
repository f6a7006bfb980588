/**
 * Records deliveries while others are under way: all that were handled since the last record go into one transaction.
 */
import * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { RunRefused } from "../operation/RunLog.js"
import type { Delivery } from "./Deliveries.js"
import { Deliveries, outcomeOf } from "./Deliveries.js"

/** What is told of deliveries. */
export interface DeliveryRecorder {
  /** Takes a delivery; by the million, it is no effect. */
  readonly add: (delivery: Delivery) => void
  /** Waits until all that was told is recorded. */
  readonly flush: Effect.Effect<void>
  /**
   * Waits until the lane stands at a cursor, behind all that was told. A cursor says of each event before it that it was delivered: what is not
   * recorded by then gets no row, but where the subscriber failed.
   */
  readonly pass: (cursor: unknown) => Effect.Effect<void>
  /** Records; fails when the run is lost. */
  readonly keep: Effect.Effect<never, DatabaseError | RunRefused>
}

type Told =
  | { readonly _tag: "Delivered"; readonly delivery: Delivery }
  | { readonly _tag: "Flush"; readonly done: Deferred.Deferred<void> }
  | { readonly _tag: "Pass"; readonly done: Deferred.Deferred<void>; readonly cursor: unknown }

/** A recorder of the deliveries of a lane. */
export const make = (handle: RunHandle, lane: string): Effect.Effect<DeliveryRecorder, never, Deliveries> =>
  Effect.map(Deliveries, (deliveries) => {
    let waiting: Array<Told> = []
    const isTold = Effect.unsafeMakeLatch()
    const tell = (told: Told) => {
      waiting.push(told)
      isTold.unsafeOpen()
    }
    const taken = Effect.sync(() => {
      const told = waiting
      waiting = []
      isTold.unsafeClose()
      return told
    })
    const awaited = (told: (done: Deferred.Deferred<void>) => Told) =>
      Effect.flatMap(Deferred.make<void>(), (done) =>
        Effect.zipRight(
          Effect.sync(() => tell(told(done))),
          Deferred.await(done)
        )
      )
    return {
      add: (delivery) => tell({ _tag: "Delivered", delivery }),
      flush: awaited((done) => ({ _tag: "Flush", done })),
      pass: (cursor) => awaited((done) => ({ _tag: "Pass", done, cursor })),
      keep: Effect.forever(
        Effect.flatMap(Effect.zipRight(isTold.await, taken), (told) => record(deliveries, handle, lane, told))
      )
    }
  })

/** One transaction: the rows of what was delivered, or the cursor that says so. */
const record = (deliveries: Deliveries["Type"], handle: RunHandle, lane: string, told: ReadonlyArray<Told>) =>
  Effect.gen(function* () {
    const delivered = told.flatMap((one) => (one._tag === "Delivered" ? [one.delivery] : []))
    const passed = told.find((one) => one._tag === "Pass")
    const rows = passed === undefined ? delivered : delivered.filter((one) => outcomeOf(one) === "failed")
    if (passed !== undefined || delivered.length > 0) {
      const count = (outcome: string) => delivered.filter((one) => outcomeOf(one) === outcome).length
      const counters = { delivered: count("delivered"), failed: count("failed"), skipped: count("skipped") }
      const kept = Arr.isNonEmptyReadonlyArray(rows) ? deliveries.record(handle.id, rows) : Effect.void
      const made = { value: undefined, lane, cursor: passed?.cursor, done: delivered.length, counters }
      yield* handle.batch(Effect.as(kept, made))
    }
    for (const one of told) if (one._tag !== "Delivered") yield* Deferred.succeed(one.done, undefined)
  })
