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
   * Takes the cursor of the lane, behind all that was told so far; answers with the wait until it is recorded. A cursor says of each event before it
   * that it was delivered: what is not recorded by then gets no row, but where the subscriber failed.
   */
  readonly pass: (cursor: unknown) => Effect.Effect<Effect.Effect<void>>
  /** Records; fails when the run is lost. */
  readonly keep: Effect.Effect<never, DatabaseError | RunRefused>
}

/** What was told since the last record. */
class Told {
  readonly counters = { delivered: 0, failed: 0, skipped: 0 }
  /** Those that get a row. */
  rows: Array<Delivery> = []
  cursor: unknown = undefined
  readonly waits: Array<Deferred.Deferred<void>> = []

  add(delivery: Delivery): void {
    this.counters[outcomeOf(delivery)]++
    this.rows.push(delivery)
  }

  pass(cursor: unknown): void {
    this.cursor = cursor
    this.rows = this.rows.filter((one) => outcomeOf(one) === "failed")
  }
}

/** A recorder of the deliveries of a lane. */
export const make = (handle: RunHandle, lane: string): Effect.Effect<DeliveryRecorder, never, Deliveries> =>
  Effect.map(Deliveries, (deliveries) => {
    let told = new Told()
    const isTold = Effect.unsafeMakeLatch()
    const taken = Effect.sync(() => {
      const before = told
      told = new Told()
      isTold.unsafeClose()
      return before
    })
    const waiting = Effect.map(Deferred.make<void>(), (done) => {
      told.waits.push(done)
      isTold.unsafeOpen()
      return Deferred.await(done)
    })
    return {
      add: (delivery) => {
        told.add(delivery)
        isTold.unsafeOpen()
      },
      flush: Effect.flatten(waiting),
      pass: (cursor) =>
        Effect.zipRight(
          Effect.sync(() => told.pass(cursor)),
          waiting
        ),
      keep: Effect.forever(
        Effect.flatMap(Effect.zipRight(isTold.await, taken), (all) => record(deliveries, handle, lane, all))
      )
    }
  })

/** One transaction: the rows of what was delivered, and the cursor that says so of what is before it. */
const record = (
  deliveries: Deliveries["Type"],
  handle: RunHandle,
  lane: string,
  { counters, cursor, rows, waits }: Told
) =>
  Effect.gen(function* () {
    const done = counters.delivered + counters.failed + counters.skipped
    if (cursor !== undefined || done > 0) {
      const kept = Arr.isNonEmptyReadonlyArray(rows) ? deliveries.record(handle.id, rows) : Effect.void
      yield* handle.batch(Effect.as(kept, { value: undefined, lane, cursor, done, counters }))
    }
    for (const wait of waits) yield* Deferred.succeed(wait, undefined)
  })
