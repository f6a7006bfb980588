/**
 * `Directory` on PostgreSQL: the read tables of the identity feature.
 */
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import { Directory } from "../../identity/Directory.js"
import { rolesOf } from "../../identity/IdentityTables.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import * as PatientStatement from "../client/PatientStatement.js"
import { PgSql, rows, tablesFound } from "../client/PgSql.js"

const UserRow = Schema.Struct({ id: Schema.String, email: Schema.String, tenant_id: Schema.String })

const TenantRow = Schema.Struct({ id: Schema.String, name: Schema.String, key: Schema.String })

const MembershipRow = Schema.Struct({
  id: Schema.String,
  user_id: Schema.String,
  tenant_id: Schema.String,
  stream_tenant_id: Schema.NullOr(Schema.String),
  roles: Schema.NullOr(Schema.String)
})

const EventsRow = Schema.Struct({ id: Schema.NullOr(Schema.String) })

/** The read tables that the search path finds. */
export const make: Effect.Effect<Directory["Type"], never, PgSql | OperationConfig> = Effect.gen(function* () {
  const sql = yield* PgSql
  const config = yield* OperationConfig
  const patient = (...tables: ReadonlyArray<string>) => PatientStatement.make(sql, config, "read", tables)
  const users = patient("read_users")
  const tenants = patient("read_tenants")
  const memberships = patient("read_tenant_memberships", "kumiko_events")
  const eventsSeen = yield* Ref.make(false)

  /** A table, as it is named where a statement is sent. */
  const named = Effect.map(
    tablesFound,
    (found) => (table: string) => sql.literal(Option.getOrUndefined(found)?.tables.get(`"${table}"`) ?? table)
  )

  /** An application with a dispatcher of its own may have no event table; one that is there stays. */
  const hasEvents = Effect.gen(function* () {
    if (yield* Ref.get(eventsSeen)) return true
    const [found] = yield* sql`SELECT to_regclass('kumiko_events')::text AS id`.pipe(
      rows("looking for the events", EventsRow)
    )
    const seen = found !== undefined && found.id !== null
    yield* Ref.set(eventsSeen, seen)
    return seen
  })

  /** With the tenant of the membership's stream, which is that of its first event; without an event there is none. */
  const membershipsWhere = (where: Fragment) =>
    Effect.flatMap(Effect.all([hasEvents, named]), ([joined, name]) => {
      const stream = joined
        ? sql`(SELECT e.tenant_id FROM ${name("kumiko_events")} e
            WHERE e.aggregate_id = m.id AND e.version = 1 AND e.aggregate_type = 'tenant-membership'
            ORDER BY e.id LIMIT 1)`
        : sql`m.tenant_id`
      return sql`SELECT m.id::text, m.user_id, m.tenant_id::text, ${stream}::text AS stream_tenant_id, m.roles
        FROM ${name("read_tenant_memberships")} m WHERE ${where} ORDER BY m.tenant_id`.pipe(
        memberships,
        rows("reading memberships", MembershipRow)
      )
    })

  return Directory.of({
    findUserByEmail: (email) =>
      Effect.map(
        Effect.flatMap(
          named,
          (table) =>
            sql`SELECT id::text, email, tenant_id::text FROM ${table("read_users")} WHERE email = ${email} LIMIT 1`
        ).pipe(users, rows("finding a user", UserRow)),
        (found) =>
          Option.map(Option.fromNullable(found[0]), (row) => ({
            id: row.id,
            email: row.email,
            tenantId: row.tenant_id
          }))
      ),
    findMembershipsOfUser: (userId) =>
      Effect.map(membershipsWhere(sql`m.user_id = ${userId}`), (found) =>
        found.flatMap(({ roles, stream_tenant_id, tenant_id, user_id }) =>
          stream_tenant_id === null
            ? []
            : [{ userId: user_id, tenantId: tenant_id, streamTenantId: stream_tenant_id, roles: rolesOf(roles) }]
        )
      ),
    findTenants: Effect.map(
      Effect.flatMap(
        named,
        (table) => sql`SELECT id::text, name, key FROM ${table("read_tenants")} ORDER BY inserted_at, key`
      ).pipe(tenants, rows("listing tenants", TenantRow)),
      (found) => found.map(({ id, key, name }) => ({ id, name, tenantKey: key }))
    ),
    findMembership: ({ tenantId, userId }) =>
      Effect.map(membershipsWhere(sql`m.user_id = ${userId} AND m.tenant_id = ${tenantId}::uuid`), (found) =>
        Option.map(Option.fromNullable(found[0]), (row) => ({
          id: row.id,
          userId: row.user_id,
          tenantId: row.tenant_id,
          roles: rolesOf(row.roles)
        }))
      )
  })
})

/** `Directory` on PostgreSQL. */
export const layer: Layer.Layer<Directory, never, PgSql | OperationConfig> = Layer.effect(Directory, make)
