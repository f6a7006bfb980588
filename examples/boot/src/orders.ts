import { Schema } from "effect"
import { Feature, WriteHandler } from "effect-es-ops"

const Order = Schema.Struct({ id: Schema.UUID, product: Schema.UUID, amount: Schema.Int })

export const placeOrder = WriteHandler.make({
  name: "orders:write:place",
  payload: Order,
  access: ["Customer"],
  handle: (order) => ({
    events: [
      { aggregateId: order.id, aggregateType: "order", version: 1, type: "order.placed", payload: { ...order } }
    ],
    data: { ...order }
  })
})

export const orders = Feature.make({ name: "orders", handlers: [placeOrder] })
