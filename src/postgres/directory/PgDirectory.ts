/**
 * `Directory` on PostgreSQL: the read tables of the identity feature.
 */
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import { AlreadyTaken, Directory } from "../../identity/Directory.js"
import { refuseTaken, unique } from "../../identity/UniqueRow.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { databaseError, notStored } from "../client/PgError.js"
import * as UniqueViolation from "../client/UniqueViolation.js"
import { decodeRows, PgSql, rows } from "../client/PgSql.js"

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

const RolesRow = Schema.Struct({ id: Schema.String, roles: Schema.NullOr(Schema.String) })

const IdRow = Schema.Struct({ id: Schema.String })

/** Whether an index is on any of these columns; where the server does not tell on which it is, it is taken for ours. */
const isOn = (same: ReadonlyArray<string>, columns: string): boolean =>
  columns === "" || same.some((column) => new RegExp(`\\b${column}\\b`).test(columns))

/** The read tables that the search path finds. */
export const make: Effect.Effect<Directory["Type"], never, PgSql> = Effect.gen(function* () {
  const sql = yield* PgSql
  const eventsSeen = yield* Ref.make(false)

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
    Effect.flatMap(hasEvents, (joined) => {
      const stream = joined
        ? sql`(SELECT e.tenant_id FROM kumiko_events e
            WHERE e.aggregate_id = m.id AND e.version = 1 AND e.aggregate_type = 'tenant-membership'
            ORDER BY e.id LIMIT 1)`
        : sql`m.tenant_id`
      return sql`SELECT m.id::text, m.user_id, m.tenant_id::text, ${stream}::text AS stream_tenant_id, m.roles
        FROM read_tenant_memberships m WHERE ${where} ORDER BY m.tenant_id`.pipe(
        rows("reading memberships", MembershipRow)
      )
    })

  /** Adds rows that the table does not have yet; those that do not come back were taken. */
  const add = <Row extends { readonly id: string }>(
    addition: Addition,
    given: ReadonlyArray<Row>,
    name: (row: Row) => { readonly what: string; readonly value: string },
    columns: (row: Row) => Readonly<Record<string, string>>
  ): Effect.Effect<void, AlreadyTaken | DatabaseError> => {
    const [first] = given
    if (first === undefined) return Effect.void
    const action = `adding to ${addition.table}`
    const added = Effect.suspend(() => sql.unsafe(...insertOf(addition, given.map(columns)))).pipe(
      Effect.mapError((error) =>
        // A row that another commits meanwhile, or an index on more than the columns, such as lower(email).
        Option.exists(UniqueViolation.of(error), ({ columns, isNested }) => !isNested && isOn(addition.same, columns))
          ? new AlreadyTaken(name(first))
          : databaseError(action)(error)
      ),
      Effect.flatMap(decodeRows(action, IdRow)),
      Effect.flatMap((found) => {
        const ids = new Set(found.map(({ id }) => id))
        const taken = given.find((row) => !ids.has(row.id.toLowerCase()))
        return taken === undefined ? Effect.void : new AlreadyTaken(name(taken))
      })
    )
    return given.length === 1 ? added : Effect.zipRight(refuseTaken([], given, name), added)
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
      Effect.map(membershipsWhere(sql`m.user_id = ${userId}`), (found) =>
        found.flatMap(({ roles, stream_tenant_id, tenant_id, user_id }) =>
          stream_tenant_id === null
            ? []
            : [{ userId: user_id, tenantId: tenant_id, streamTenantId: stream_tenant_id, roles: rolesOf(roles) }]
        )
      ),
    findTenants: Effect.map(
      sql`SELECT id::text, name, key FROM read_tenants ORDER BY inserted_at, key`.pipe(
        rows("listing tenants", TenantRow)
      ),
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
      ),
    addTenants: (given) =>
      add(tenants, given, unique.tenant, ({ id, name, tenantKey }) => ({ id, name, key: tenantKey })),
    addUsers: (given) =>
      add(users, given, unique.user, ({ email, id, tenantId }) => ({ id, email, tenant_id: tenantId })),
    addMemberships: (given) =>
      add(memberships, given, unique.membership, ({ id, roles, tenantId, userId }) => ({
        id,
        user_id: userId,
        tenant_id: tenantId,
        roles: JSON.stringify(roles)
      })),
    setRoles: (given) =>
      Effect.suspend(() => {
        const changed = lastOfEach(given).map(({ id, roles }) => ({ id, roles: JSON.stringify(roles) }))
        return sql
          .unsafe(
            `UPDATE read_tenant_memberships m SET roles = g.roles
              FROM jsonb_to_recordset($1::jsonb) AS g (id uuid, roles text) WHERE m.id = g.id
              RETURNING m.id::text, m.roles`,
            [JSON.stringify(changed)]
          )
          .pipe(
            Effect.mapError(databaseError("setting roles")),
            Effect.flatMap(decodeRows("setting roles", RolesRow)),
            // A row policy or a trigger keeps a row as it was without an error.
            Effect.flatMap((found) => {
              const now = new Map(found.map(({ id, roles }) => [id, roles]))
              return changed.every(({ id, roles }) => now.get(id.toLowerCase()) === roles)
                ? Effect.void
                : notStored("setting roles", memberships.table)
            })
          )
      })
  })
})

/** `Directory` on PostgreSQL. */
export const layer: Layer.Layer<Directory, never, PgSql> = Layer.effect(Directory, make)

/** How rows are added to a table. */
interface Addition {
  readonly table: string
  /** Columns, with their types. */
  readonly types: Readonly<Record<string, string>>
  /** Columns that are computed of a row's number. */
  readonly more?: Readonly<Record<string, (n: string) => string>>
  /** The columns by which a row is there already. */
  readonly same: ReadonlyArray<string>
}

const tenants: Addition = {
  table: "read_tenants",
  types: { id: "uuid", name: "text", key: "text" },
  // Tenants of one transaction, and of one statement, keep their order: rows take longer than a microsecond each.
  more: { inserted_at: (n) => `statement_timestamp() + ${n} * interval '1 microsecond'` },
  same: ["key"]
}

const users: Addition = {
  table: "read_users",
  types: { id: "uuid", email: "text", tenant_id: "uuid" },
  same: ["email"]
}

const memberships: Addition = {
  table: "read_tenant_memberships",
  types: { id: "uuid", user_id: "text", tenant_id: "uuid", roles: "text" },
  same: ["user_id", "tenant_id"]
}

/** The statement that adds rows, and its parameters. A single row goes as it is, which is planned faster than a set. */
const insertOf = (
  { more = {}, same, table, types }: Addition,
  rows: ReadonlyArray<Readonly<Record<string, string>>>
): readonly [string, ReadonlyArray<string>] => {
  const columns = Object.keys(types)
  const insert = (value: (column: string, at: number) => string, n: string, from: string) =>
    `INSERT INTO ${table} (${[...columns, ...Object.keys(more)].join(", ")})
      SELECT ${[...columns.map(value), ...Object.values(more).map((of) => of(n))].join(", ")} ${from}
      WHERE NOT EXISTS (SELECT FROM ${table} t WHERE ${same.map((column) => `t.${column} = ${value(column, columns.indexOf(column))}`).join(" AND ")})
      RETURNING id::text`
  const [row, ...others] = rows
  if (row !== undefined && others.length === 0) {
    const single = insert((column, at) => `$${at + 1}::${types[column]}`, "0", "")
    return [single, columns.map((column) => row[column] ?? "")]
  }
  const typed = columns.map((column) => `${column} ${types[column]}`).join(", ")
  const set = `FROM jsonb_to_recordset($1::jsonb) AS g (${typed}, n integer)`
  return [insert((column) => `g.${column}`, "g.n", set), [JSON.stringify(rows.map((given, n) => ({ ...given, n })))]]
}

const decodeRoles = Schema.decodeUnknownOption(Schema.parseJson(Schema.Array(Schema.String)))

const rolesOf = (roles: string | null): ReadonlyArray<string> => Option.getOrElse(decodeRoles(roles), () => [])

const lastOfEach = <Row extends { readonly id: string }>(given: ReadonlyArray<Row>): ReadonlyArray<Row> => [
  ...new Map(given.map((row) => [row.id, row])).values()
]
