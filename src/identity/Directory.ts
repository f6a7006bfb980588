/**
 * The directory: tenants, users and memberships, as the read tables of the identity feature have them.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
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

/** The port of the finders: what the read tables of the identity feature say. */
export class Directory extends Context.Tag("effect-es-ops/Directory")<
  Directory,
  {
    /** The user with exactly this email address. */
    readonly findUserByEmail: (email: string) => Effect.Effect<Option.Option<User>, DatabaseError>
    /**
     * The memberships of a user, each with the tenant whose stream its events are on. One without an event, or whose first event is not a
     * `tenant-membership`'s, has no such stream and is not listed.
     */
    readonly findMembershipsOfUser: (userId: string) => Effect.Effect<ReadonlyArray<MembershipOfUser>, DatabaseError>
    /** Tenants by the time of their insertion. */
    readonly findTenants: Effect.Effect<ReadonlyArray<Tenant>, DatabaseError>
    /** The membership of a user in a tenant. */
    readonly findMembership: (
      of: Pick<Membership, "userId" | "tenantId">
    ) => Effect.Effect<Option.Option<Membership>, DatabaseError>
  }
>() {}
