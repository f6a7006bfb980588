/**
 * Seeds that are to be run and have the source of an applied one whose file is gone: most often the file was renamed, and what it does was done.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Attempt } from "../../operation/Attempt.js"
import { SeedProblem } from "../SeedProblem.js"
import { textHashOf } from "../source/SeedEntry.js"
import type { LoadedSeed } from "./SeedCheck.js"
import type { PlannedSeed, RenamedSeed } from "./SeedPlan.js"

/** Those among the seeds that load; one that its flag skips is not run. `lastAttempts` has the newest attempt at each. */
export const find = (
  planned: ReadonlyArray<PlannedSeed>,
  loaded: ReadonlyArray<LoadedSeed>,
  lastAttempts: ReadonlyMap<string, Attempt>
): Effect.Effect<ReadonlyArray<RenamedSeed>> => {
  const orphans = orphanedSources(planned, lastAttempts)
  const open = new Set(planned.flatMap(({ id, state }) => (state === "pending" || state === "late" ? [id] : [])))
  const candidates = loaded.filter(({ entry, isSkipped }) => !isSkipped && open.has(entry.id))
  if (orphans.size === 0) return Effect.succeed([])
  return Effect.map(
    Effect.forEach(candidates, (seed) =>
      Effect.map(hashesOf(seed), (hashes) =>
        hashes.flatMap((hash) => {
          const from = orphans.get(hash)
          return from === undefined ? [] : [{ id: seed.entry.id, from }]
        })
      )
    ),
    (found) => found.flatMap(([first]) => (first === undefined ? [] : [first]))
  )
}

/** The orphans by the hashes of what they were when they were applied. */
const orphanedSources = (
  planned: ReadonlyArray<PlannedSeed>,
  lastAttempts: ReadonlyMap<string, Attempt>
): ReadonlyMap<string, string> => {
  const sources = new Map<string, string>()
  for (const { id, state } of planned) {
    const attempt = state === "orphan" ? lastAttempts.get(id) : undefined
    if (attempt?.outcome !== "applied" && attempt?.outcome !== "marked") continue
    if (Option.isSome(attempt.sourceHash)) sources.set(attempt.sourceHash.value, id)
  }
  return sources
}

/** The hash of its code, and that of its text, which earlier releases recorded. */
const hashesOf = ({ entry, sourceHash }: LoadedSeed): Effect.Effect<ReadonlyArray<string>> =>
  Effect.zipWith(
    sourceHash,
    Effect.orElseSucceed(entry.source, () => Option.none<string>()),
    (hash, text) => [...Option.toArray(hash), ...Option.toArray(Option.map(text, textHashOf))]
  )

const what = ({ from, id }: RenamedSeed): string =>
  `"${id}" has the source of "${from}", which is applied and has no file any more`

const remedy = ({ from, id }: RenamedSeed): string => `es-ops seed:rename ${from} ${id} --reason <text>`

/** What to say of one that is run all the same. */
export const warning = (renamed: RenamedSeed): string =>
  `${what(renamed)}: it runs as a new seed. If its file was renamed, and it is not to run again: ${remedy(renamed)}`

/** The commands that tell the record of their new names. */
export const remedies = (renamed: ReadonlyArray<RenamedSeed>): string => renamed.map(remedy).join("; ")

/** Each as a problem, where the settings say so. */
export const problems = (
  renamed: ReadonlyArray<RenamedSeed>,
  policy: "run" | "fail",
  loaded: ReadonlyArray<LoadedSeed>
): ReadonlyArray<SeedProblem> =>
  policy === "run"
    ? []
    : renamed.map((one) => {
        const path = loaded.find(({ entry }) => entry.id === one.id)?.entry.path ?? null
        const message = `${path ?? one.id}: ${what(one)}: if it was renamed, ${remedy(one)}; or allow renamed seeds`
        return new SeedProblem({ _tag: "RenamedSeed", id: one.id, path, message })
      })
