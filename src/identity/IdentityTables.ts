/**
 * The read tables of the identity feature, as they are created where they are missing.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RowTable } from "../event/Table.js"
import { table } from "../event/Table.js"

/** The table of tenants. */
export const tenants = table({
  name: "read_tenants",
  columns: [
    { name: "id", type: "uuid" },
    { name: "name", type: "text" },
    { name: "key", type: "text" },
    { name: "inserted_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  unique: [["key"]],
  row: Schema.Struct({ id: Schema.String, name: Schema.String, key: Schema.String })
})

/** The table of users. */
export const users = table({
  name: "read_users",
  columns: [
    { name: "id", type: "uuid" },
    { name: "email", type: "text" },
    { name: "tenant_id", type: "uuid" }
  ],
  primaryKey: ["id"],
  unique: [["email"]],
  row: Schema.Struct({ id: Schema.String, email: Schema.String, tenant_id: Schema.String })
})

const Membership = Schema.Struct({
  id: Schema.String,
  user_id: Schema.String,
  tenant_id: Schema.String,
  // A list as JSON. A table that was there before may have none, or a text that is no list.
  roles: Schema.NullOr(Schema.String)
})

/** The table of memberships. */
export const memberships: RowTable<typeof Membership.Type, typeof Membership.Encoded, "id"> = {
  name: "read_tenant_memberships",
  columns: [
    { name: "id", type: "uuid" },
    { name: "user_id", type: "text" },
    { name: "tenant_id", type: "uuid" },
    { name: "roles", type: "text" }
  ],
  primaryKey: ["id"],
  unique: [["user_id", "tenant_id"]],
  row: Membership
}

const decodeRoles = Schema.decodeUnknownOption(Schema.parseJson(Schema.Array(Schema.String)))

/** The roles that a row of the table of memberships has; none where they cannot be read. */
export const rolesOf = (roles: string | null): ReadonlyArray<string> => Option.getOrElse(decodeRoles(roles), () => [])

/** All of them. */
export const all = [tenants, users, memberships]
