/**
 * Seeds as async functions: `run(ctx)` with promises in place of effects.
 *
 * A forgotten `await` is the fault to guard against. Every write that was started is settled before the marker; one that failed and that
 * nobody awaited fails the seed; one that is started after `run` has returned is refused. No rejection of a promise that a seed was given
 * ends the process.
 */
import type { WriteData } from "../event/WriteDispatcher.js"
import type { MembershipOfUser, Tenant, User } from "../identity/Directory.js"
import type { Row } from "../operation/QueryError.js"

export { EffectReturned, GeneratorReturned } from "./SeedResult.js"
export { NotAwaited } from "./StartedPromises.js"

/** What an async seed can do. Promises reject with an `Error` that has a `code`; after a catch the seed can go on. */
export interface PromiseContext {
  /** Writes through the handler of this name, for a tenant (default: the system tenant), with roles besides `system`. */
  readonly systemWriteAs: (
    handler: string,
    payload: unknown,
    tenantIdOverride?: string | null,
    extraRoles?: ReadonlyArray<string> | null
  ) => Promise<{ readonly isSuccess: true; readonly data: WriteData }>
  /** The user with this email address, or null. */
  readonly findUserByEmail: (email: string) => Promise<User | null>
  /** A user's memberships; writes about one go to its `streamTenantId`. */
  readonly findMembershipsOfUser: (userId: string) => Promise<ReadonlyArray<MembershipOfUser>>
  /** All tenants, by the time of their insertion. */
  readonly findTenants: () => Promise<ReadonlyArray<Tenant>>
  /** Reading SQL: the server refuses it any write. */
  readonly db: {
    /** Rows of one reading statement. */
    readonly query: (text: string, params?: ReadonlyArray<unknown>) => Promise<ReadonlyArray<Row>>
    /** The same. */
    readonly unsafe: (text: string, params?: ReadonlyArray<unknown>) => Promise<ReadonlyArray<Row>>
  }
}
