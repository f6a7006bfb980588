/**
 * `Deliveries` of a `MemoryDatabase`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import type { Delivery } from "../Deliveries.js"
import { Deliveries, outcomeOf } from "../Deliveries.js"
import * as Refusals from "../Refusals.js"

/** The deliveries as they stand in a `MemoryDatabase`, by the id of their run. */
class MemoryDelivered extends Context.Tag("effect-es-ops/MemoryDelivered")<
  MemoryDelivered,
  ReadonlyMap<string, ReadonlyArray<Delivery>>
>() {
  static readonly empty: MemoryDelivered["Type"] = new Map()
}

/** The deliveries of a `MemoryDatabase`. There, a handler can write through the ports only. */
export const layer: Layer.Layer<Deliveries, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  Deliveries,
  Effect.map(MemoryDatabase.MemoryDatabase, (database) => {
    const view = MemoryDatabase.view(database, MemoryDelivered, MemoryDelivered.empty)
    const of = (runId: string) => Effect.map(view.get, (all) => all.get(runId) ?? [])
    return Deliveries.of({
      record: (runId, deliveries) =>
        view.update((all) => new Map([...all, [runId, [...(all.get(runId) ?? []), ...deliveries]]])),
      recorded: (runId, after, upTo) =>
        Effect.map(
          of(runId),
          (all) =>
            new Set(all.map(({ eventId }) => eventId).filter((id) => id > after && (upTo === undefined || id <= upTo)))
        ),
      failed: (runId) => Effect.map(of(runId), (all) => all.filter((delivery) => outcomeOf(delivery) === "failed")),
      remove: (runId) => view.update((all) => new Map([...all].filter(([id]) => id !== runId))),
      inTurn: (work) =>
        Effect.suspend(() => {
          const { ending, refuse } = Refusals.make()
          return work({ refuse, run: (handler) => Effect.map(Effect.exit(handler), ending) })
        })
    })
  })
)
