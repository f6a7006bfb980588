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
): Effect.Effect<ReadonlySet<string>> =>
  Effect.gen(function* () {
    const found = new Set<string>()
    const recorded = recordedHashes(attempts)
    const compared = entries.flatMap((entry) => {
      const hash = recorded.get(entry.id)
      return hash === undefined ? [] : [{ entry, hash }]
    })
    if (compared.length === 0) return found
    const isUnchanged = yield* SourceHash.comparison
    for (const { entry, hash } of compared) {
      const { id, path, source } = entry
      const text = yield* Effect.orElseSucceed(source, () => Option.none<string>())
      if (Option.exists(text, (known) => !isUnchanged(path, known, hash))) found.add(id)
    }
    return found
  })

/** Of each seed, the hash that the newest attempt which applied or marked it has, if it has one. */
const recordedHashes = (attempts: Iterable<Attempt>): ReadonlyMap<string, string> => {
  const newest = new Map<string, Option.Option<string>>()
  for (const { operationId, outcome, sourceHash } of attempts) {
    if ((outcome === "applied" || outcome === "marked") && !newest.has(operationId)) newest.set(operationId, sourceHash)
  }
  return new Map([...newest].flatMap(([id, hash]) => Option.toArray(Option.map(hash, (known) => [id, known] as const))))
}
