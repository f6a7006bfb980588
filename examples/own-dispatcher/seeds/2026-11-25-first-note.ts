import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

export default Seed.make({
  description: "a note that everybody sees first",
  run: Effect.asVoid(SeedContext.systemWriteAs("notes:write:add", { id: "welcome", text: "Good to see you." }))
})
