import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

export default Seed.make({
  description: "the first tenant",
  run: Effect.asVoid(SeedContext.systemWriteAs("tenant:write:create", { key: "acme", name: "Acme Industries" }))
})
