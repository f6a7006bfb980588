/**
 * The names of the bundled feature's handlers, events and projections: what looks at seeds asks for them, and runs none.
 */
import type { AskedProjection } from "../event/ProjectionRecords.js"
import * as Tables from "./IdentityTables.js"

/** The names of its handlers. */
export const handlers = {
  createTenant: "tenant:write:create",
  createUser: "user:write:create",
  addMember: "tenant:write:add-member",
  updateMemberRoles: "tenant:write:update-member-roles"
} as const

/** The types of its events. */
export const events = {
  tenantCreated: "tenant.created",
  userCreated: "user.created",
  membershipCreated: "tenant-membership.created",
  membershipUpdated: "tenant-membership.updated"
} as const

/** Its projections, as their record is asked for: each has the name of its table. */
export const projections: ReadonlyArray<AskedProjection> = [
  { name: Tables.tenants.name, events: [events.tenantCreated] },
  { name: Tables.users.name, events: [events.userCreated] },
  { name: Tables.memberships.name, events: [events.membershipCreated, events.membershipUpdated] }
].map((folded) => ({ ...folded, version: 1, tables: [folded.name] }))
