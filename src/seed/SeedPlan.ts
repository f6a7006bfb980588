/**
 * Which seeds are applied, pending, late, interrupted or orphaned, from what is there and what is recorded. Pure.
 */
import * as Option from "effect/Option"
import type { Attempt } from "../operation/Attempt.js"
import { isHalfDone } from "../operation/Attempt.js"
import { order, seedMigration } from "../operation/Operation.js"
import { SeedProblem } from "./SeedProblem.js"

/** A seed is in exactly one state. `orphan`: a marker without a seed, as an older release sees a newer one's. */
export type SeedState = "applied" | "pending" | "late" | "interrupted" | "orphan"

/** A seed with its state. */
export interface PlannedSeed {
  readonly id: string
  readonly state: SeedState
}

/** What there is, and what forbids to apply it. */
export interface SeedPlan {
  /** In run order: that of the ids. */
  readonly seeds: ReadonlyArray<PlannedSeed>
  readonly problems: ReadonlyArray<SeedProblem>
}

/** What a plan is made of. */
export interface PlanInput {
  readonly seeds: ReadonlyArray<{ readonly id: string; readonly path: string }>
  /** Markers, with their type of operation. */
  readonly applied: ReadonlyMap<string, string>
  readonly lastAttempts: ReadonlyMap<string, Attempt>
  /** Whether a seed's skip flag is in force. */
  readonly skipped: (id: string) => boolean
  readonly late: "run" | "fail"
  /** Whether somebody holds the lock: then an attempt that has not ended may be under way. */
  readonly lockHeld?: boolean | undefined
}

/** The seeds that have no marker. */
export const pending = <Entry extends { readonly id: string }>(
  entries: ReadonlyArray<Entry>,
  applied: ReadonlyMap<string, string>
): ReadonlyArray<Entry> => entries.filter(({ id }) => !applied.has(id))

/** Every seed with its state, and what forbids to apply them. */
export const make = (input: PlanInput): SeedPlan => {
  const ids = new Set(input.seeds.map(({ id }) => id))
  const marked = [...input.applied].filter(([, type]) => type === seedMigration).map(([id]) => id)
  const last = marked.reduce((highest, id) => (order(highest, id) < 0 ? id : highest), "")
  const state = (id: string): SeedState => {
    if (input.applied.get(id) === seedMigration) return "applied"
    const attempt = input.lastAttempts.get(id)
    const outcome = attempt?.outcome
    if (attempt !== undefined && isHalfDone(attempt))
      return outcome === "running" && input.lockHeld === true ? "pending" : "interrupted"
    const late = order(id, last) < 0 && outcome !== "skipped" && !input.skipped(id)
    return late ? "late" : "pending"
  }
  const known = [...ids].map((id): PlannedSeed => ({ id, state: state(id) }))
  const orphans = marked.filter((id) => !ids.has(id)).map((id): PlannedSeed => ({ id, state: "orphan" }))
  const seeds = [...known, ...orphans].toSorted((a, b) => order(a.id, b.id))
  return { seeds, problems: [...takenIds(input), ...lateSeeds(input, known, last)] }
}

/** Ids of seeds that a marker of another type of operation bears. */
export const takenIds = ({ applied, seeds }: Pick<PlanInput, "seeds" | "applied">): ReadonlyArray<SeedProblem> =>
  seeds.flatMap(({ id, path }) =>
    Option.match(
      Option.filter(Option.fromNullable(applied.get(id)), (type) => type !== seedMigration),
      {
        onNone: () => [],
        onSome: (type) => [
          new SeedProblem({
            _tag: "IdTaken",
            id,
            path,
            message: `${path}: the id "${id}" is taken by an operation of type "${type}"; rename the seed`
          })
        ]
      }
    )
  )

const lateSeeds = (
  { late, seeds }: PlanInput,
  planned: ReadonlyArray<PlannedSeed>,
  last: string
): ReadonlyArray<SeedProblem> =>
  late === "run"
    ? []
    : planned
        .filter(({ state }) => state === "late")
        .map(({ id }) => {
          const path = seeds.find((seed) => seed.id === id)?.path ?? null
          const message = `${path ?? id} sorts before "${last}", which is applied: rename it so that it comes last, or allow late seeds`
          return new SeedProblem({ _tag: "LateSeed", id, path, message })
        })
