import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"
import { addProduct } from "../src/catalog.js"

const id = "018f6b2e-7c1d-7000-8000-000000000001"

export default Seed.make({
  description: "the first product, through the handler that the application uses as well",
  run: Effect.asVoid(SeedContext.write(addProduct, { id, name: "A first product" }))
})
