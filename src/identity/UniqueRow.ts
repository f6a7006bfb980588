/**
 * What must be unique in the read tables of the identity feature, and the refusal of a row whose value is taken.
 */
import * as Effect from "effect/Effect"
import type { Membership, Tenant, User } from "./Directory.js"
import { AlreadyTaken } from "./Directory.js"

/** What must be unique of a row, for a person to read: `tenant key "acme"`. */
export const unique = {
  tenant: ({ tenantKey }: Tenant) => ({ what: "tenant key", value: `"${tenantKey}"` }),
  user: ({ email }: User) => ({ what: "email address", value: `"${email}"` }),
  membership: ({ tenantId, userId }: Pick<Membership, "userId" | "tenantId">) => ({
    what: "membership",
    value: `of user ${userId} in tenant ${tenantId}`
  })
}

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
