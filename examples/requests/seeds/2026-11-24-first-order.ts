import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

const order = { id: "018f6b2e-7c1d-7000-8000-000000000001", total: 1200 }

export default Seed.make({
  description: "an order that is there from the beginning; the tables are created with it",
  run: Effect.asVoid(SeedContext.systemWriteAs("orders:write:place", order))
})
