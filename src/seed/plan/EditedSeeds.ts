/**
 * Applied seeds that were edited since: their source is not the one that was recorded with the attempt that applied them. A seed of which either
 * source is unknown is not among them.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Attempt } from "../../operation/Attempt.js"
import type { SeedEntry } from "../source/SeedEntry.js"
import * as SourceHash from "../source/SourceHash.js"

/** The ids of those among the applied seeds `entries`; `attempts` are the newest first. */
export const changed = (
  entries: ReadonlyArray<SeedEntry>,
  attempts: Iterable<Attempt>
): Effect.Effect<ReadonlySet<string>> => {
  const recorded = recordedHashes(attempts)
  const edited = Effect.filter(entries, ({ id, path, source }) =>
    Option.match(Option.flatten(Option.fromNullable(recorded.get(id))), {
      onNone: () => Effect.succeed(false),
      onSome: (hash) =>
        Effect.matchEffect(source, {
          onFailure: () => Effect.succeed(false),
          onSuccess: Option.match({
            onNone: () => Effect.succeed(false),
            onSome: (text) => Effect.negate(SourceHash.matches(path, text, hash))
          })
        })
    })
  )
  return Effect.map(edited, (found) => new Set(found.map(({ id }): string => id)))
}

/** Of each seed, the hash that the newest attempt which applied or marked it has. */
const recordedHashes = (attempts: Iterable<Attempt>): ReadonlyMap<string, Option.Option<string>> => {
  const recorded = new Map<string, Option.Option<string>>()
  for (const { operationId, outcome, sourceHash } of attempts) {
    if ((outcome === "applied" || outcome === "marked") && !recorded.has(operationId)) {
      recorded.set(operationId, sourceHash)
    }
  }
  return recorded
}
