/**
 * The directory in memory: the read tables of the identity feature in a `MemoryDatabase`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { MemoryEvents } from "../../event/memory/MemoryEvents.js"
import * as MemoryReadTables from "../../event/memory/MemoryReadTables.js"
import type { RowTable } from "../../event/Table.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { Directory } from "../Directory.js"
import * as Tables from "../IdentityTables.js"

/** The directory of a `MemoryDatabase`. */
export const layer: Layer.Layer<Directory, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  Directory,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const { rows } = MemoryReadTables.viewOf(database)
    const events = MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty)

    const rowsOf = <A, I, K extends string>(table: RowTable<A, I, K>): Effect.Effect<ReadonlyArray<A>, DatabaseError> =>
      Effect.mapError(Effect.flatMap(rows(table), Schema.decodeUnknown(Schema.Array(table.row))), ({ message }) =>
        DatabaseError.because(`reading ${table.name}`, message)
      )

    return Directory.of({
      findUserByEmail: (wanted) =>
        Effect.map(rowsOf(Tables.users), (users) =>
          Option.map(Option.fromNullable(users.find(({ email }) => email === wanted)), ({ email, id, tenant_id }) => ({
            id,
            email,
            tenantId: tenant_id
          }))
        ),
      findMembershipsOfUser: Effect.fn("Directory.findMembershipsOfUser")(function* (userId) {
        const memberships = yield* rowsOf(Tables.memberships)
        const { events: stored } = yield* events.get
        const streamTenant = (id: string) =>
          stored.find((e) => e.aggregateId === id && e.version === 1 && e.aggregateType === "tenant-membership")
            ?.tenantId
        return memberships
          .filter((membership) => membership.user_id === userId)
          .flatMap(({ id, roles, tenant_id }) => {
            const streamTenantId = streamTenant(id)
            return streamTenantId === undefined
              ? []
              : [{ userId, tenantId: tenant_id, streamTenantId, roles: Tables.rolesOf(roles) }]
          })
      }),
      findTenants: Effect.map(rowsOf(Tables.tenants), (tenants) =>
        tenants.map(({ id, key, name }) => ({ id, name, tenantKey: key }))
      ),
      findMembership: ({ tenantId, userId }) =>
        Effect.map(rowsOf(Tables.memberships), (memberships) =>
          Option.map(
            Option.fromNullable(memberships.find((m) => m.user_id === userId && m.tenant_id === tenantId)),
            ({ id, roles }) => ({ id, userId, tenantId, roles: Tables.rolesOf(roles) })
          )
        )
    })
  })
)
