import { Effect, Option } from "effect"
import { Seed, SeedContext } from "effect-es-ops"

export default Seed.make({
  description: "give admin@example.com the TenantAdmin role in every tenant",
  skippable: true,
  run: Effect.gen(function* () {
    const admin = yield* SeedContext.findUserByEmail("admin@example.com")
    if (Option.isNone(admin)) return
    for (const membership of yield* SeedContext.findMembershipsOfUser(admin.value.id)) {
      if (membership.roles.includes("TenantAdmin")) continue
      const { roles, streamTenantId, tenantId, userId } = membership
      yield* SeedContext.systemWriteAs(
        "tenant:write:update-member-roles",
        { userId, tenantId, roles: [...roles, "TenantAdmin"] },
        { tenantId: streamTenantId }
      )
    }
  })
})
