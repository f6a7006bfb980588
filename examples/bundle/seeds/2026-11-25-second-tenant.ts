import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

export default Seed.make({
  description: "the second tenant",
  run: Effect.asVoid(SeedContext.systemWriteAs("tenant:write:create", { key: "second", name: "The second" }))
})
