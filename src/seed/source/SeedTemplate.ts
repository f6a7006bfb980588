/**
 * The template of a new seed: its id, made of the date and a slug, and its text.
 */
import * as DateTime from "effect/DateTime"

const longestSlug = 60

/** A name in lower case, every run of characters outside `a-z0-9` as `-`, 60 characters at most; empty if nothing is left. */
export const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replace(/^-/, "")
    .slice(0, longestSlug)
    .replace(/-$/, "")

/** The id of a new seed: the UTC date and the slug; with the time of day where `ids` has a seed of that date, so that it sorts after it. */
export const idOf = (slug: string, now: DateTime.Utc, ids: ReadonlyArray<string>): string => {
  const [date = "", time = ""] = DateTime.formatIso(now).split("T")
  const today = ids.some((id) => id === date || id.startsWith(`${date}-`) || id.startsWith(`${date}T`))
  return today ? `${date}T${time.slice(0, 8).replaceAll(":", "")}-${slug}` : `${date}-${slug}`
}

/** The text of a new seed. */
export const template = (description: string): string => `import { Effect } from "effect"
import { Seed } from "effect-es-ops"

// Applied once to each database, in one transaction: if it fails, nothing of it stays.
export default Seed.make({
  description: ${JSON.stringify(description)},
  run: Effect.gen(function* () {
    // The lookups that seeds need most; add SeedContext to the import from "effect-es-ops" to use them:
    // const user = yield* SeedContext.findUserByEmail("admin@example.com") // an Option of { id, email, tenantId }
    // const memberships = yield* SeedContext.findMembershipsOfUser(userId) // an array of { tenantId, streamTenantId, roles, … }
    yield* Effect.log("nothing is written yet")
  })
})
`
