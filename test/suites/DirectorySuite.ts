/**
 * What every directory does.
 */
import { assert, layer } from "@effect/vitest"
import { Array as Arr, Effect, Option } from "effect"
import type { Layer } from "effect"
import { Directory, Event, EventStore, Identity, ReadTables } from "effect-es-ops"
import type { EsOps, Feature } from "effect-es-ops"
import { randomUUID } from "node:crypto"

/** Adds rows to a table of the identity feature. */
const add = (name: string, rows: ReadonlyArray<Feature.StoredRow>) =>
  Effect.flatMap(ReadTables.ReadTables, (tables) => {
    const table = Identity.feature.tables.find((each) => each.name === name)
    return table !== undefined && Arr.isNonEmptyReadonlyArray(rows)
      ? tables.add(table, rows)
      : Effect.dieMessage(`no rows of ${name}`)
  })

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`Directory: ${name}`, (it) => {
    it.effect("lists tenants in the order of their insertion", () =>
      Effect.gen(function* () {
        const directory = yield* Directory.Directory
        const rows = ["zeta", "alpha", "mid"].map((key) => ({ id: randomUUID(), name: `The ${key}`, tenantKey: key }))
        const stored = rows.map(({ id, name, tenantKey }) => ({ id, name, key: tenantKey }))
        yield* add("read_tenants", stored.slice(0, 2))
        yield* add("read_tenants", stored.slice(2))
        assert.deepStrictEqual(yield* directory.findTenants, rows)
      })
    )

    it.effect("finds a user by exactly the email address", () =>
      Effect.gen(function* () {
        const directory = yield* Directory.Directory
        const user = { id: randomUUID(), email: "o'neill@example.com", tenantId: randomUUID() }
        yield* add("read_users", [{ id: user.id, email: user.email, tenant_id: user.tenantId }])
        assert.deepStrictEqual(yield* directory.findUserByEmail(user.email), Option.some(user))
        assert.deepStrictEqual(yield* directory.findUserByEmail("O'Neill@example.com"), Option.none())
      })
    )

    it.effect("finds the memberships of a user that have an event, with the tenant of the stream that each is on", () =>
      Effect.gen(function* () {
        const directory = yield* Directory.Directory
        const store = yield* EventStore.EventStore
        const userId = randomUUID()
        const [own, elsewhere, bare, other] = Array.from({ length: 4 }, (_, index) => ({
          id: randomUUID(),
          userId,
          tenantId: `00000000-0000-4000-8000-00000000000${index + 1}`,
          roles: index === 0 ? ["TenantAdmin"] : ["Member", `R${index}`]
        }))
        assert.isDefined(own)
        assert.isDefined(elsewhere)
        assert.isDefined(bare)
        assert.isDefined(other)
        if (own === undefined || elsewhere === undefined || bare === undefined || other === undefined) return
        yield* add(
          "read_tenant_memberships",
          [own, elsewhere, bare, other].map(({ id, roles, tenantId }) => ({
            id,
            user_id: userId,
            tenant_id: tenantId,
            roles: id === bare.id ? "no list" : JSON.stringify(roles)
          }))
        )
        const created = (
          aggregateId: string,
          tenantId: string,
          aggregateType = "tenant-membership"
        ): Event.NewEvent => ({
          tenantId,
          aggregateId,
          aggregateType,
          version: 1,
          type: "tenant-membership.created",
          eventVersion: 1,
          payload: {},
          metadata: { userId: "u" }
        })
        yield* store.append([created(own.id, own.tenantId), created(elsewhere.id, Event.systemTenantId)])
        // Not a membership's stream, though it bears the id of one.
        yield* store.append([created(other.id, other.tenantId, "tenant")])
        yield* store.append([created(own.id, other.tenantId, "user")])
        assert.deepStrictEqual(yield* directory.findMembershipsOfUser(userId), [
          { userId, tenantId: own.tenantId, streamTenantId: own.tenantId, roles: own.roles },
          { userId, tenantId: elsewhere.tenantId, streamTenantId: Event.systemTenantId, roles: elsewhere.roles }
        ])
        assert.deepStrictEqual(yield* directory.findMembership(elsewhere), Option.some(elsewhere))
        assert.deepStrictEqual(yield* directory.findMembership(bare), Option.some({ ...bare, roles: [] }))
        assert.deepStrictEqual(yield* directory.findMembership({ userId, tenantId: randomUUID() }), Option.none())
      })
    )
  })
