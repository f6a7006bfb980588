/**
 * `Directory` on PostgreSQL: the read tables of the identity feature.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import { AlreadyTaken, Directory, refuseTaken, unique } from "../identity/Directory.js"
import type { DatabaseError } from "../operation/OperationError.js"
import { databaseError, sqlState } from "./PgError.js"
import { decodeRows, PgSql, rows } from "./PgSql.js"

const UserRow = Schema.Struct({ id: Schema.String, email: Schema.String, tenant_id: Schema.String })

const TenantRow = Schema.Struct({ id: Schema.String, name: Schema.String, key: Schema.String })

const MembershipRow = Schema.Struct({
  id: Schema.String,
  user_id: Schema.String,
  tenant_id: Schema.String,
  stream_tenant_id: Schema.String,
  roles: Schema.NullOr(Schema.String)
})

const IdRow = Schema.Struct({ id: Schema.String })

/** The read tables that the search path finds. */
export const layer: Layer.Layer<Directory, never, PgSql> = Layer.effect(
  Directory,
  Effect.gen(function* () {
    const sql = yield* PgSql
    const eventsSeen = yield* Ref.make(false)

    /** An application with a dispatcher of its own may have no event table; one that is there stays. */
    const hasEvents = Effect.gen(function* () {
      if (yield* Ref.get(eventsSeen)) return true
      const [found] = yield* sql`SELECT to_regclass('kumiko_events')::text AS id`.pipe(
        rows("looking for the events", Schema.Struct({ id: Schema.NullOr(Schema.String) }))
      )
      const seen = found !== undefined && found.id !== null
      yield* Ref.set(eventsSeen, seen)
      return seen
    })

    const memberships = (where: Fragment) =>
      Effect.flatMap(hasEvents, (joined) => {
        const stream = joined ? sql`coalesce(e.tenant_id, m.tenant_id)` : sql`m.tenant_id`
        const events = joined ? sql`LEFT JOIN kumiko_events e ON e.aggregate_id = m.id AND e.version = 1` : sql``
        return sql`SELECT m.id::text, m.user_id, m.tenant_id::text, ${stream}::text AS stream_tenant_id, m.roles
          FROM read_tenant_memberships m ${events} WHERE ${where} ORDER BY m.tenant_id`.pipe(
          rows("reading memberships", MembershipRow)
        )
      })

    /** Inserts what is not there yet; the rows that do not come back were taken. */
    const add = <Row extends { readonly id: string }>(
      given: ReadonlyArray<Row>,
      name: (row: Row) => { readonly what: string; readonly value: string },
      insert: Effect.Effect<ReadonlyArray<unknown>, SqlError>
    ): Effect.Effect<void, AlreadyTaken | DatabaseError> =>
      Effect.gen(function* () {
        yield* refuseTaken([], given, name)
        const action = `adding a ${given[0] === undefined ? "row" : name(given[0]).what}`
        const added = yield* insert.pipe(
          Effect.mapError((error) =>
            // unique_violation: an index that the table has beyond ours.
            Option.contains(sqlState(error), "23505") && given[0] !== undefined
              ? new AlreadyTaken(name(given[0]))
              : databaseError(action)(error)
          ),
          Effect.flatMap(decodeRows(action, IdRow))
        )
        const ids = new Set(added.map(({ id }) => id))
        const taken = given.find((row) => !ids.has(row.id.toLowerCase()))
        if (taken !== undefined) return yield* new AlreadyTaken(name(taken))
      })

    /** Rows as a table "g": a single one as VALUES, which takes 0.1 ms less to plan. */
    const table = (
      given: ReadonlyArray<Readonly<Record<string, string | number>>>,
      columns: Readonly<Record<string, string>>
    ) => {
      const [row, ...others] = given
      const all = Object.entries(columns)
      if (row === undefined || others.length > 0) {
        const types = all.map(([column, type]) => sql`${sql(column)} ${sql.literal(type)}`)
        return sql`jsonb_to_recordset(${JSON.stringify(given)}::jsonb) AS g (${sql.csv(types)})`
      }
      const values = all.map(([column, type]) => sql`${row[column] ?? null}::${sql.literal(type)}`)
      return sql`(VALUES (${sql.csv(values)})) AS g (${sql.csv(all.map(([column]) => sql`${sql(column)}`))})`
    }

    return Directory.of({
      findUserByEmail: (email) =>
        Effect.map(
          sql`SELECT id::text, email, tenant_id::text FROM read_users WHERE email = ${email} LIMIT 1`.pipe(
            rows("finding a user", UserRow)
          ),
          (found) =>
            Option.map(Option.fromNullable(found[0]), (row) => ({
              id: row.id,
              email: row.email,
              tenantId: row.tenant_id
            }))
        ),
      findMembershipsOfUser: (userId) =>
        Effect.map(memberships(sql`m.user_id = ${userId}`), (found) =>
          found.map((row) => ({
            userId: row.user_id,
            tenantId: row.tenant_id,
            streamTenantId: row.stream_tenant_id,
            roles: rolesOf(row.roles)
          }))
        ),
      findTenants: Effect.map(
        sql`SELECT id::text, name, key FROM read_tenants ORDER BY inserted_at, key`.pipe(
          rows("listing tenants", TenantRow)
        ),
        (found) => found.map(({ id, key, name }) => ({ id, name, tenantKey: key }))
      ),
      findMembership: ({ tenantId, userId }) =>
        Effect.map(memberships(sql`m.user_id = ${userId} AND m.tenant_id = ${tenantId}::uuid`), (found) =>
          Option.map(Option.fromNullable(found[0]), (row) => ({
            id: row.id,
            userId: row.user_id,
            tenantId: row.tenant_id,
            roles: rolesOf(row.roles)
          }))
        ),
      addTenants: (given) =>
        add(
          given,
          unique.tenant,
          // Tenants of one transaction, and of one statement, keep their order: rows take longer than a microsecond each.
          sql`INSERT INTO read_tenants (id, name, key, inserted_at)
            SELECT id, name, "tenantKey", statement_timestamp() + n * interval '1 microsecond'
            FROM ${table(
              given.map(({ id, name, tenantKey }, n) => ({ id, name, tenantKey, n })),
              { id: "uuid", name: "text", tenantKey: "text", n: "integer" }
            )}
            WHERE NOT EXISTS (SELECT FROM read_tenants t WHERE t.key = g."tenantKey") RETURNING id::text`
        ),
      addUsers: (given) =>
        add(
          given,
          unique.user,
          sql`INSERT INTO read_users (id, email, tenant_id)
            SELECT id, email, "tenantId"
            FROM ${table(
              given.map(({ email, id, tenantId }) => ({ id, email, tenantId })),
              { id: "uuid", email: "text", tenantId: "uuid" }
            )}
            WHERE NOT EXISTS (SELECT FROM read_users u WHERE u.email = g.email) RETURNING id::text`
        ),
      addMemberships: (given) =>
        add(
          given,
          unique.membership,
          sql`INSERT INTO read_tenant_memberships (id, user_id, tenant_id, roles)
            SELECT id, "userId", "tenantId", roles
            FROM ${table(
              given.map(({ id, roles, tenantId, userId }) => ({ id, userId, tenantId, roles: JSON.stringify(roles) })),
              { id: "uuid", userId: "text", tenantId: "uuid", roles: "text" }
            )}
            WHERE NOT EXISTS (SELECT FROM read_tenant_memberships m WHERE m.user_id = g."userId" AND m.tenant_id = g."tenantId")
            RETURNING id::text`
        ),
      setRoles: (given) =>
        sql`UPDATE read_tenant_memberships m SET roles = g.roles
          FROM ${table(
            lastOfEach(given).map(({ id, roles }) => ({ id, roles: JSON.stringify(roles) })),
            { id: "uuid", roles: "text" }
          )} WHERE m.id = g.id`.pipe(Effect.mapError(databaseError("setting roles")), Effect.asVoid)
    })
  })
)

const decodeRoles = Schema.decodeUnknownOption(Schema.parseJson(Schema.Array(Schema.String)))

const rolesOf = (roles: string | null): ReadonlyArray<string> => Option.getOrElse(decodeRoles(roles), () => [])

const lastOfEach = <Row extends { readonly id: string }>(given: ReadonlyArray<Row>): ReadonlyArray<Row> => [
  ...new Map(given.map((row) => [row.id, row])).values()
]
