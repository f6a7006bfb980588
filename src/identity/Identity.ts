/**
 * The bundled feature keeps tenants, users and their memberships, which the finders of seeds read. It is an example of a feature, too.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as FieldErrors from "../operation/FieldErrors.js"
import type { Event } from "../event/Event.js"
import { EventStore } from "../event/EventStore.js"
import * as Feature from "../event/Feature.js"
import * as Projection from "../event/Projection.js"
import type { DecidedEvent, Decision } from "../event/WriteHandler.js"
import * as WriteHandler from "../event/WriteHandler.js"
import { DatabaseError } from "../operation/OperationError.js"
import type { AlreadyTaken, Membership } from "./Directory.js"
import { Directory } from "./Directory.js"
import { tables } from "./IdentityTables.js"

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
  name: "tenant:write:create",
  payload: NewTenant,
  access: ["system", "SystemAdmin"],
  handle: (payload, { newId }) => created("tenant", { key: payload.key, name: payload.name, id: payload.id ?? newId })
})

/** `user:write:create`: a taken email address is rejected with `conflict`. */
export const createUser = WriteHandler.make({
  name: "user:write:create",
  payload: NewUser,
  access: ["system", "SystemAdmin"],
  handle: (payload, { newId }) =>
    created("user", { email: payload.email, tenantId: payload.tenantId, id: payload.id ?? newId })
})

/** `tenant:write:add-member`: the membership's stream is on the acting user's tenant. */
export const addMember = WriteHandler.make({
  name: "tenant:write:add-member",
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
  name: "tenant:write:update-member-roles",
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
        type: "tenant-membership.updated",
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

/** What a stored event of ours says; one that does not fit its type was not written by us. */
const payloadsOf = <A, I>(schema: Schema.Schema<A, I>) => {
  const decode = ParseResult.decodeUnknownEither(schema)
  return (events: ReadonlyArray<Event>): Either.Either<ReadonlyArray<A>, DatabaseError> =>
    Either.mapLeft(
      Either.all(events.map(({ payload }) => decode(payload))),
      (issue) =>
        new DatabaseError({
          action: "projecting an event",
          id: Option.none(),
          code: Option.none(),
          reason: FieldErrors.lines(issue),
          connectionLost: false,
          cause: issue
        })
    )
}

const tenantPayloads = payloadsOf(Schema.Struct({ ...NewTenant.fields, id: Schema.String }))
const userPayloads = payloadsOf(Schema.Struct({ ...NewUser.fields, id: Schema.String }))
const membershipPayloads = payloadsOf(Schema.Struct({ ...MemberRoles.fields, id: Schema.String }))

const tenants = Projection.make({
  name: "read_tenants",
  events: ["tenant.created"],
  apply: Effect.fnUntraced(function* (events) {
    const rows = yield* tenantPayloads(events)
    const directory = yield* Directory
    yield* directory
      .addTenants(rows.map(({ id, key, name }) => ({ id, name, tenantKey: key })))
      .pipe(Effect.catchTag("AlreadyTaken", conflict))
  })
})

const users = Projection.make({
  name: "read_users",
  events: ["user.created"],
  apply: Effect.fnUntraced(function* (events) {
    const rows = yield* userPayloads(events)
    const directory = yield* Directory
    yield* directory.addUsers(rows).pipe(Effect.catchTag("AlreadyTaken", conflict))
  })
})

const memberships = Projection.make({
  name: "read_tenant_memberships",
  events: ["tenant-membership.created", "tenant-membership.updated"],
  apply: Effect.fnUntraced(function* (events) {
    const directory = yield* Directory
    for (const group of Arr.groupWith(events, (a, b) => a.type === b.type)) {
      const rows: ReadonlyArray<Membership> = yield* membershipPayloads(group)
      yield* group[0].type === "tenant-membership.created"
        ? directory.addMemberships(rows).pipe(Effect.catchTag("AlreadyTaken", conflict))
        : directory.setRoles(rows)
    }
  })
})

const conflict = (taken: AlreadyTaken) => WriteHandler.reject("conflict", taken.message)

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
  tables
})
