/**
 * The read tables of the identity feature, as they are created where they are missing.
 */
import type { Table } from "../event/Feature.js"

/** The tables of tenants, users and memberships. */
export const tables: ReadonlyArray<Table> = [
  {
    name: "read_tenants",
    columns: [
      { name: "id", type: "uuid" },
      { name: "name", type: "text" },
      { name: "key", type: "text" },
      { name: "inserted_at", type: "timestamptz", default: "now" }
    ],
    primaryKey: ["id"],
    unique: [["key"]]
  },
  {
    name: "read_users",
    columns: [
      { name: "id", type: "uuid" },
      { name: "email", type: "text" },
      { name: "tenant_id", type: "uuid" }
    ],
    primaryKey: ["id"],
    unique: [["email"]]
  },
  {
    name: "read_tenant_memberships",
    columns: [
      { name: "id", type: "uuid" },
      { name: "user_id", type: "text" },
      { name: "tenant_id", type: "uuid" },
      { name: "roles", type: "text" }
    ],
    primaryKey: ["id"],
    unique: [["user_id", "tenant_id"]]
  }
]
