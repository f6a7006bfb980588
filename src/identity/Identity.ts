/**
 * The bundled feature keeps tenants, users and their memberships, which the finders of seeds read. It is an example of a feature, too.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { EventStore } from "../event/EventStore.js"
import * as EventType from "../event/EventType.js"
import * as Feature from "../event/Feature.js"
import * as Projection from "../event/Projection.js"
import type { DecidedEvent, Decision } from "../event/WriteHandler.js"
import * as WriteHandler from "../event/WriteHandler.js"
import { Directory } from "./Directory.js"
import * as Names from "./IdentityNames.js"
import * as Tables from "./IdentityTables.js"

/** A UUID as PostgreSQL gives it back: in lower case. */
const Id = Schema.transform(Schema.UUID, Schema.UUID, {
  strict: true,
  decode: (id) => id.toLowerCase(),
  encode: (id) => id
})

const NewTenant = Schema.Struct({
  id: Schema.optional(Id),
  key: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(50)),
  name: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(200))
})

const NewUser = Schema.Struct({
  id: Schema.optional(Id),
  email: Schema.String.pipe(Schema.pattern(/^[^@\s]+@[^@\s]+$/), Schema.maxLength(320)),
  tenantId: Id
})

const MemberRoles = Schema.Struct({
  userId: Schema.Union(Id, Schema.NonEmptyString),
  tenantId: Id,
  roles: Schema.NonEmptyArray(Schema.NonEmptyString)
})

/** `tenant:write:create`: a taken key is rejected with `conflict`. */
export const createTenant = WriteHandler.make({
  name: Names.handlers.createTenant,
  payload: NewTenant,
  access: ["system", "SystemAdmin"],
  handle: (payload, { newId }) => created("tenant", { key: payload.key, name: payload.name, id: payload.id ?? newId })
})

/** `user:write:create`: a taken email address is rejected with `conflict`. */
export const createUser = WriteHandler.make({
  name: Names.handlers.createUser,
  payload: NewUser,
  access: ["system", "SystemAdmin"],
  handle: (payload, { newId }) =>
    created("user", { email: payload.email, tenantId: payload.tenantId, id: payload.id ?? newId })
})

/** `tenant:write:add-member`: the membership's stream is on the acting user's tenant. */
export const addMember = WriteHandler.make({
  name: Names.handlers.addMember,
  payload: MemberRoles,
  access: ["SystemAdmin"],
  handle: (payload, { newId }) =>
    created("tenant-membership", {
      userId: payload.userId,
      tenantId: payload.tenantId,
      roles: payload.roles,
      id: newId
    })
})

/** `tenant:write:update-member-roles`: on another tenant than the membership's stream it is a `version_conflict`. */
export const updateMemberRoles = WriteHandler.make({
  name: Names.handlers.updateMemberRoles,
  payload: MemberRoles,
  access: ["system", "SystemAdmin"],
  handle: (payload, { actor }) =>
    Effect.gen(function* () {
      const directory = yield* Directory
      const membership = yield* directory.findMembership(payload)
      if (Option.isNone(membership)) {
        return yield* WriteHandler.reject("not_found", `user ${payload.userId} is no member of ${payload.tenantId}`)
      }
      const { id } = membership.value
      const version = yield* (yield* EventStore).version({ tenantId: actor.tenantId, aggregateId: id })
      if (version === 0) {
        const reason = `the stream of membership ${id} is not on tenant ${actor.tenantId}`
        return yield* WriteHandler.reject("version_conflict", reason)
      }
      const row = { ...payload, id }
      return decision(row, {
        aggregateId: id,
        aggregateType: "tenant-membership",
        version: version + 1,
        type: Names.events.membershipUpdated,
        payload: row
      })
    })
})

const created = <Row extends { readonly id: string }>(aggregateType: string, row: Row): Decision<Row> =>
  decision(row, { aggregateId: row.id, aggregateType, version: 1, type: `${aggregateType}.created`, payload: row })

const decision = <Row extends { readonly id: string }>(row: Row, event: DecidedEvent): Decision<Row> => ({
  events: [event],
  data: row
})

/** A tenant was created. */
export const tenantCreated = EventType.make({
  type: Names.events.tenantCreated,
  payload: Schema.Struct({ ...NewTenant.fields, id: Schema.String })
})

/** A user was created. */
export const userCreated = EventType.make({
  type: Names.events.userCreated,
  payload: Schema.Struct({ ...NewUser.fields, id: Schema.String })
})

const Member = Schema.Struct({ ...MemberRoles.fields, id: Schema.String })

/** A user became a member of a tenant. */
export const membershipCreated = EventType.make({ type: Names.events.membershipCreated, payload: Member })

/** A member got other roles. */
export const membershipUpdated = EventType.make({ type: Names.events.membershipUpdated, payload: Member })

const tenants = Projection.fold({
  name: Tables.tenants.name,
  table: Tables.tenants,
  on: [[tenantCreated, (_, { payload: { id, key, name } }) => Option.some({ id, name, key })]]
})

const users = Projection.fold({
  name: Tables.users.name,
  table: Tables.users,
  on: [[userCreated, (_, { payload: { email, id, tenantId } }) => Option.some({ id, email, tenant_id: tenantId })]]
})

const member = (_: unknown, { payload: { id, roles, tenantId, userId } }: { readonly payload: typeof Member.Type }) =>
  Option.some({ id, user_id: userId, tenant_id: tenantId, roles: JSON.stringify(roles) })

const memberships = Projection.fold({
  name: Tables.memberships.name,
  table: Tables.memberships,
  on: [
    [membershipCreated, member],
    [membershipUpdated, member]
  ]
})

/**
 * The feature of tenants, users and memberships: handlers, projections and read tables. Active unless the settings name other features.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Identity, Seed, SeedContext } from "effect-es-ops"
 *
 * export default Seed.make({
 *   description: "the first tenant",
 *   run: Effect.gen(function* () {
 *     const tenant = yield* SeedContext.write(Identity.createTenant, { key: "acme", name: "Acme" })
 *     yield* Effect.log(`created ${tenant.id}`)
 *   })
 * })
 * ```
 */
export const feature = Feature.make({
  name: "identity",
  handlers: [createTenant, createUser, addMember, updateMemberRoles],
  projections: [tenants, users, memberships],
  tables: Tables.all
})
