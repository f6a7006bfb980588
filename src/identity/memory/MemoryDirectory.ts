/**
 * The directory in memory: the read tables of the identity feature in a `MemoryDatabase`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { MemoryEvents } from "../../event/memory/MemoryEvents.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import type { Membership, Tenant, User } from "../Directory.js"
import { Directory } from "../Directory.js"
import { refuseTaken, unique } from "../UniqueRow.js"

/** Read tables as they stand in a `MemoryDatabase`. */
class MemoryDirectory extends Context.Tag("effect-es-ops/MemoryDirectory")<
  MemoryDirectory,
  {
    readonly tenants: ReadonlyArray<Tenant>
    readonly users: ReadonlyArray<User>
    readonly memberships: ReadonlyArray<Membership>
  }
>() {
  static readonly empty: MemoryDirectory["Type"] = { tenants: [], users: [], memberships: [] }
}

/** The directory of a `MemoryDatabase`. */
export const layer: Layer.Layer<Directory, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  Directory,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const tables = MemoryDatabase.view(database, MemoryDirectory, MemoryDirectory.empty)
    const events = MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty)
    return Directory.of({
      findUserByEmail: (email) =>
        Effect.map(tables.get, ({ users }) => Option.fromNullable(users.find((user) => user.email === email))),
      findMembershipsOfUser: Effect.fn("Directory.findMembershipsOfUser")(function* (userId) {
        const { memberships } = yield* tables.get
        const { events: stored } = yield* events.get
        const streamTenant = (id: string) =>
          stored.find((e) => e.aggregateId === id && e.version === 1 && e.aggregateType === "tenant-membership")
            ?.tenantId
        return memberships
          .filter((membership) => membership.userId === userId)
          .flatMap(({ id, roles, tenantId }) => {
            const streamTenantId = streamTenant(id)
            return streamTenantId === undefined ? [] : [{ userId, tenantId, streamTenantId, roles }]
          })
      }),
      findTenants: Effect.map(tables.get, ({ tenants }) => tenants),
      findMembership: ({ tenantId, userId }) =>
        Effect.map(tables.get, ({ memberships }) =>
          Option.fromNullable(memberships.find((m) => m.userId === userId && m.tenantId === tenantId))
        ),
      addTenants: (rows) =>
        Effect.flatMap(tables.get, (state) =>
          Effect.zipRight(
            refuseTaken(state.tenants, rows, unique.tenant),
            tables.update((now) => ({ ...now, tenants: [...now.tenants, ...rows] }))
          )
        ),
      addUsers: (rows) =>
        Effect.flatMap(tables.get, (state) =>
          Effect.zipRight(
            refuseTaken(state.users, rows, unique.user),
            tables.update((now) => ({ ...now, users: [...now.users, ...rows] }))
          )
        ),
      addMemberships: (rows) =>
        Effect.flatMap(tables.get, (state) =>
          Effect.zipRight(
            refuseTaken(state.memberships, rows, unique.membership),
            tables.update((now) => ({ ...now, memberships: [...now.memberships, ...rows] }))
          )
        ),
      setRoles: (rows) => {
        const roles = new Map(rows.map((row) => [row.id, row.roles]))
        return tables.update((now) => ({
          ...now,
          memberships: now.memberships.map((row) => ({ ...row, roles: roles.get(row.id) ?? row.roles }))
        }))
      }
    })
  })
)
