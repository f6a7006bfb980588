/**
 * A feature whose writes are refused, fail, die or are interrupted as their payload says, and the layers that it is tried on.
 */
import { Effect, Layer, Option, Schema } from "effect"
import {
  Directory,
  EsOps,
  EventStore,
  Feature,
  Identity,
  Projection,
  ReadTables,
  Seed,
  SeedRunner,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { tenants } from "../../src/identity/IdentityTables.js"
import * as Database from "../support/TestDatabase.js"

export const actor = { id: "u", tenantId: randomUUID(), roles: ["Shop", "system"] }

const Open = Schema.Struct({ id: Schema.UUID, key: Schema.String, how: Schema.String })

/** Appends a tenant's event, which a projection writes before another one refuses, fails, dies or never ends. */
export const open = WriteHandler.make({
  name: "shop:write:shop:open",
  payload: Open,
  access: ["Shop"],
  handle: ({ how, id, key }) => ({
    events: [{ aggregateId: id, aggregateType: "shop", version: 1, type: "shop.opened", payload: { id, key, how } }],
    data: { id, key }
  })
})

/** Writes through the dispatcher itself, and goes on after a refusal. */
export const openTwo = WriteHandler.make({
  name: "shop:write:shop:open-two",
  payload: Schema.Struct({ id: Schema.UUID, refused: Schema.UUID, key: Schema.String }),
  access: ["Shop"],
  handle: ({ id, key, refused }) =>
    Effect.gen(function* () {
      const dispatcher = yield* SubDispatcher
      yield* Effect.ignore(dispatcher.submit({ id: refused, key: `${key}-inner`, how: "refuses" }))
      return {
        events: [
          { aggregateId: id, aggregateType: "shop", version: 1, type: "shop.opened", payload: { id, key, how: "" } }
        ],
        data: { id }
      }
    })
})

export class SubDispatcher extends Effect.Service<SubDispatcher>()("test/SubDispatcher", {
  sync: () => {
    const holder: { dispatcher: Option.Option<WriteDispatcher.WriteDispatcher["Type"]> } = { dispatcher: Option.none() }
    return {
      set: (dispatcher: WriteDispatcher.WriteDispatcher["Type"]) => {
        holder.dispatcher = Option.some(dispatcher)
      },
      submit: (payload: typeof Open.Type) =>
        Effect.flatMap(Effect.orDie(holder.dispatcher), (dispatcher) =>
          Effect.provideService(
            WriteDispatcher.submit(open, payload, { actor }),
            WriteDispatcher.WriteDispatcher,
            dispatcher
          )
        )
    }
  }
}) {}

const rows = Projection.make({
  name: "rows",
  events: ["shop.opened"],
  apply: (events) =>
    Effect.gen(function* () {
      const tables = yield* ReadTables.ReadTables
      for (const { aggregateId, payload } of events) {
        const key = String(payload["key"])
        yield* Effect.orDie(tables.add(tenants, [{ id: aggregateId, name: key, key }]))
      }
    })
})

const ends = Projection.make({
  name: "ends",
  events: ["shop.opened"],
  apply: (events) =>
    Effect.forEach(
      events,
      ({ payload }) => {
        switch (payload["how"]) {
          case "refuses":
            return WriteHandler.reject("conflict", "it refuses")
          case "fails":
            return Effect.fail(new Error("it fails"))
          case "dies":
            return Effect.dieMessage("it dies")
          case "interrupts":
            return Effect.interrupt
          default:
            return Effect.void
        }
      },
      { discard: true }
    )
})

export const shop = Feature.make({
  name: "shop",
  handlers: [open, openTwo],
  projections: [rows, ends],
  tables: Identity.feature.tables
})

export type Everything = EsOps.Services | SubDispatcher

export const memory: Layer.Layer<Everything> = EsOps.layerMemory({ seeds: {}, features: [shop] }).pipe(
  Layer.provideMerge(SubDispatcher.Default),
  Layer.orDie
)

const first = Seed.make({
  description: "a seed that creates the tables",
  run: Effect.void
})

export const server = (maxConnections: number) =>
  Layer.effectDiscard(Effect.orDie(SeedRunner.apply({ appliedBy: "boot" }))).pipe(
    Layer.provideMerge(EsOps.layer({ seeds: { first }, features: [shop] })),
    Layer.provideMerge(SubDispatcher.Default),
    Layer.provideMerge(Database.client({ maxConnections })),
    Layer.provideMerge(Database.layer),
    Layer.orDie
  )

export const keys = Effect.gen(function* () {
  const { findTenants } = yield* Directory.Directory
  return (yield* findTenants).map(({ tenantKey }) => tenantKey).toSorted()
})

export const isStored = (id: string) =>
  Effect.map(
    Effect.flatMap(EventStore.EventStore, (store) => store.load({ tenantId: actor.tenantId, aggregateId: id })),
    ({ length }) => length > 0
  )

export const submit = (how: string, id = randomUUID(), key = `${how}-${id}`) =>
  WriteDispatcher.submit(open, { id, key, how }, { actor })

export const hows = ["refuses", "fails", "dies", "interrupts"] as const
