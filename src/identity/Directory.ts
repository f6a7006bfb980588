/**
 * Who is there: tenants, users and memberships, as the read tables have them.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { MemoryEvents } from "../event/EventStore.js"
import * as MemoryDatabase from "../operation/memory/MemoryDatabase.js"
import type { DatabaseError } from "../operation/OperationError.js"

/** A row of `read_users`. */
export interface User {
  readonly id: string
  readonly email: string
  readonly tenantId: string
}

/** A row of `read_tenants`; `tenantKey` is its `key`. */
export interface Tenant {
  readonly id: string
  readonly name: string
  readonly tenantKey: string
}

/** A membership as a seed needs it: ids are UUIDs as text. */
export interface MembershipOfUser {
  readonly userId: string
  readonly tenantId: string
  /** The tenant whose stream the membership's events are on; writes about it must go there. It can differ from `tenantId`. */
  readonly streamTenantId: string
  /** Malformed roles read as none. */
  readonly roles: ReadonlyArray<string>
}

/** A row of `read_tenant_memberships`. */
export interface Membership {
  readonly id: string
  readonly userId: string
  readonly tenantId: string
  readonly roles: ReadonlyArray<string>
}

/** Something that must be unique in a read table is there already. */
export class AlreadyTaken extends Schema.TaggedError<AlreadyTaken>()("AlreadyTaken", {
  what: Schema.String,
  value: Schema.String
}) {
  override get message(): string {
    return `the ${this.what} ${this.value} is taken`
  }
}

/** Looks up and writes the read tables of the identity feature. */
export class Directory extends Context.Tag("effect-es-ops/Directory")<
  Directory,
  {
    /** The user with exactly this email address. */
    readonly findUserByEmail: (email: string) => Effect.Effect<Option.Option<User>, DatabaseError>
    readonly findMembershipsOfUser: (userId: string) => Effect.Effect<ReadonlyArray<MembershipOfUser>, DatabaseError>
    /** Tenants by the time of their insertion. */
    readonly findTenants: Effect.Effect<ReadonlyArray<Tenant>, DatabaseError>
    readonly findMembership: (
      of: Pick<Membership, "userId" | "tenantId">
    ) => Effect.Effect<Option.Option<Membership>, DatabaseError>
    /** Adds tenants; keys are unique. */
    readonly addTenants: (rows: ReadonlyArray<Tenant>) => Effect.Effect<void, AlreadyTaken | DatabaseError>
    /** Adds users; email addresses are unique. */
    readonly addUsers: (rows: ReadonlyArray<User>) => Effect.Effect<void, AlreadyTaken | DatabaseError>
    /** Adds memberships; a user has one for a tenant. */
    readonly addMemberships: (rows: ReadonlyArray<Membership>) => Effect.Effect<void, AlreadyTaken | DatabaseError>
    /** Gives memberships other roles, by their ids. */
    readonly setRoles: (rows: ReadonlyArray<Pick<Membership, "id" | "roles">>) => Effect.Effect<void, DatabaseError>
  }
>() {}

/** What must be unique of a row, for a person to read: `key "acme"`. */
export const unique = {
  tenant: ({ tenantKey }: Tenant) => ({ what: "tenant key", value: `"${tenantKey}"` }),
  user: ({ email }: User) => ({ what: "email address", value: `"${email}"` }),
  membership: ({ tenantId, userId }: Pick<Membership, "userId" | "tenantId">) => ({
    what: "membership",
    value: `of user ${userId} in tenant ${tenantId}`
  })
}

/** Read tables as they stand in a `MemoryDatabase`. */
export class MemoryDirectory extends Context.Tag("effect-es-ops/MemoryDirectory")<
  MemoryDirectory,
  {
    readonly tenants: ReadonlyArray<Tenant>
    readonly users: ReadonlyArray<User>
    readonly memberships: ReadonlyArray<Membership>
  }
>() {
  static readonly empty: MemoryDirectory["Type"] = { tenants: [], users: [], memberships: [] }
}

/** The read tables of a `MemoryDatabase`. */
export const layerMemory: Layer.Layer<Directory, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
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
        const firstEvents = new Map(stored.filter((e) => e.version === 1).map((e) => [e.aggregateId, e.tenantId]))
        return memberships
          .filter((membership) => membership.userId === userId)
          .map(({ id, roles, tenantId }) => ({
            userId,
            tenantId,
            streamTenantId: firstEvents.get(id) ?? tenantId,
            roles
          }))
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

/** Fails with the first of `rows` that is in `earlier`, or twice in `rows`. */
export const refuseTaken = <Row>(
  earlier: ReadonlyArray<Row>,
  rows: ReadonlyArray<Row>,
  name: (row: Row) => { readonly what: string; readonly value: string }
): Effect.Effect<void, AlreadyTaken> => {
  const taken = new Set(earlier.map((row) => name(row).value))
  for (const row of rows) {
    if (taken.has(name(row).value)) return new AlreadyTaken(name(row))
    taken.add(name(row).value)
  }
  return Effect.void
}
