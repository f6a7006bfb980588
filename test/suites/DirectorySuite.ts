/**
 * What every directory does.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { Layer } from "effect"
import { Directory, Event, EventStore } from "effect-es-ops"
import type { EsOps } from "effect-es-ops"
import { randomUUID } from "node:crypto"

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`Directory: ${name}`, (it) => {
    it.effect("lists tenants in the order of their insertion", () =>
      Effect.gen(function* () {
        const directory = yield* Directory.Directory
        const rows = ["zeta", "alpha", "mid"].map((key) => ({ id: randomUUID(), name: `The ${key}`, tenantKey: key }))
        yield* directory.addTenants(rows.slice(0, 2))
        yield* directory.addTenants(rows.slice(2))
        assert.deepStrictEqual(yield* directory.findTenants, rows)
        const taken = yield* Effect.flip(directory.addTenants([{ id: randomUUID(), name: "x", tenantKey: "alpha" }]))
        assert.deepInclude(taken, { _tag: "AlreadyTaken", value: '"alpha"' })
        assert.strictEqual((yield* directory.findTenants).length, 3)
      })
    )

    it.effect("finds a user by exactly the email address, and keeps addresses unique", () =>
      Effect.gen(function* () {
        const directory = yield* Directory.Directory
        const user = { id: randomUUID(), email: "o'neill@example.com", tenantId: randomUUID() }
        yield* directory.addUsers([user])
        assert.deepStrictEqual(yield* directory.findUserByEmail(user.email), Option.some(user))
        assert.deepStrictEqual(yield* directory.findUserByEmail("O'Neill@example.com"), Option.none())
        const twice = [randomUUID(), randomUUID()].map((id) => ({
          id,
          email: "two@example.com",
          tenantId: user.tenantId
        }))
        assert.strictEqual((yield* Effect.flip(directory.addUsers(twice)))._tag, "AlreadyTaken")
        assert.strictEqual(
          (yield* Effect.flip(directory.addUsers([{ ...user, id: randomUUID() }])))._tag,
          "AlreadyTaken"
        )
        assert.deepStrictEqual(yield* directory.findUserByEmail("two@example.com"), Option.none())
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
          roles: ["Member", `R${index}`]
        }))
        assert.isDefined(own)
        assert.isDefined(elsewhere)
        assert.isDefined(bare)
        assert.isDefined(other)
        if (own === undefined || elsewhere === undefined || bare === undefined || other === undefined) return
        yield* directory.addMemberships([own, elsewhere, bare, other])
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
        yield* directory.setRoles([{ id: own.id, roles: ["TenantAdmin"] }])
        assert.deepStrictEqual(yield* directory.findMembershipsOfUser(userId), [
          { userId, tenantId: own.tenantId, streamTenantId: own.tenantId, roles: ["TenantAdmin"] },
          { userId, tenantId: elsewhere.tenantId, streamTenantId: Event.systemTenantId, roles: elsewhere.roles }
        ])
        assert.deepStrictEqual(yield* directory.findMembership(elsewhere), Option.some(elsewhere))
        assert.deepStrictEqual(yield* directory.findMembership(bare), Option.some(bare))
        assert.deepStrictEqual(yield* directory.findMembership({ userId, tenantId: randomUUID() }), Option.none())
        const again = yield* Effect.flip(directory.addMemberships([{ ...own, id: randomUUID() }]))
        assert.strictEqual(again._tag, "AlreadyTaken")
      })
    )
  })
