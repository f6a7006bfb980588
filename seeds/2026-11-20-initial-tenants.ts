import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

const tenants = [
  { key: "acme", name: "Acme Industries" },
  { key: "globex", name: "Globex Corporation" }
]

export default Seed.make({
  description: "the first tenants, and admin@example.com as a member of each",
  run: Effect.gen(function* () {
    const created = yield* SeedContext.systemWriteAll("tenant:write:create", tenants)
    for (const [index, tenant] of created.entries()) {
      const email = index === 0 ? "admin@example.com" : `member@${tenants[index]?.key}.example`
      yield* SeedContext.systemWriteAs("user:write:create", { email, tenantId: tenant.id })
    }
    const admin = yield* Effect.flatten(SeedContext.findUserByEmail("admin@example.com"))
    for (const tenant of created) {
      yield* SeedContext.systemWriteAs(
        "tenant:write:add-member",
        { userId: admin.id, tenantId: tenant.id, roles: ["Member"] },
        { tenantId: tenant.id, extraRoles: ["SystemAdmin"] }
      )
    }
  })
})
