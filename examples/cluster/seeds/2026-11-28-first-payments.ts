import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

const accounts = Array.from({ length: 100 }, (_, n) => `018f6b2e-7c1d-7000-8000-${String(n).padStart(12, "0")}`)

export default Seed.make({
  description: "a hundred accounts, with a payment each",
  run: Effect.asVoid(
    SeedContext.systemWriteAll(
      "payments:write:pay",
      accounts.map((account, n) => ({ account, version: 1, cents: n }))
    )
  )
})
