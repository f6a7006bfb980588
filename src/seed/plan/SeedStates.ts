/**
 * The states of seeds: which are applied, pending, late, running, interrupted or orphaned, from what is there and what is recorded. Pure.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import type { Attempt } from "../../operation/Attempt.js"
import { areRising, order } from "../../operation/AppliedOperations.js"
import { isHalfDone } from "../../operation/AttemptRecord.js"
import { seedMigration } from "../../operation/Operation.js"
import type { Run } from "../../operation/Run.js"
import { SeedProblem } from "../SeedProblem.js"
import type { PlannedSeed, SeedPlan, SeedState } from "./SeedPlan.js"

/** What a plan is made of. */
export interface PlanInput {
  readonly seeds: ReadonlyArray<{ readonly id: string; readonly path: string }>
  /** Markers, with their type of operation. */
  readonly applied: ReadonlyMap<string, string>
  readonly lastAttempts: ReadonlyMap<string, Attempt>
  /** Whether a seed's skip flag is in force. */
  readonly skipped: (id: string) => boolean
  readonly late: "run" | "fail"
  /** The seeds in batches that are half done, and whether a process is in each. */
  readonly halfDone?: ReadonlyMap<string, Pick<Run, "isLive" | "updatedAt">> | undefined
  /** The id of the seed that a process is in at the moment. */
  readonly running?: string | undefined
}

/** The seeds that have no marker. */
export const pending = <Entry extends { readonly id: string }>(
  entries: ReadonlyArray<Entry>,
  applied: ReadonlyMap<string, string>
): ReadonlyArray<Entry> => entries.filter(({ id }) => !applied.has(id))

/** Every seed with its state, and what forbids to apply them. */
export const make = (input: PlanInput): SeedPlan => {
  const { applied, seeds } = input
  const known = rising(seeds.map(({ id }) => id))
  const done = typesOf(known, applied).map((type) => type === seedMigration)
  const orphans = orphansOf(input, known, done)
  const last = [...orphans, known[done.lastIndexOf(true)] ?? ""].reduce((a, b) => (order(a, b) < 0 ? b : a))
  const state = (id: string): SeedState => {
    if (id === input.running) return "running"
    const half = input.halfDone?.get(id)
    const attempt = input.lastAttempts.get(id)
    if (half !== undefined) return half.isLive && !hasEndedSince(half, attempt) ? "running" : "interrupted"
    const outcome = attempt?.outcome
    if (attempt !== undefined && isHalfDone(attempt)) return "interrupted"
    const late = order(id, last) < 0 && outcome !== "skipped" && !input.skipped(id)
    return late ? "late" : "pending"
  }
  const planned = known.map((id, at): PlannedSeed => ({ id, state: done[at] === true ? "applied" : state(id) }))
  const all = orphans.map((id): PlannedSeed => ({ id, state: "orphan" }))
  const inOrder = all.length === 0 ? planned : [...planned, ...all].toSorted((a, b) => order(a.id, b.id))
  return { seeds: inOrder, problems: [...takenIds(input), ...lateSeeds(input, planned, last)] }
}

/** Whether an attempt came to nothing after the last batch that was committed. */
const hasEndedSince = ({ updatedAt }: Pick<Run, "updatedAt">, attempt: Attempt | undefined): boolean => {
  if (attempt === undefined || (attempt.outcome !== "failed" && attempt.outcome !== "interrupted")) return false
  const ended = Option.getOrElse(attempt.endedAt, () => attempt.startedAt)
  return typeof ended !== "string" && typeof updatedAt !== "string" && DateTime.greaterThanOrEqualTo(ended, updatedAt)
}

/** The ids in their order, each once: two files of one id, which is a problem of its own, are one seed. */
const rising = (ids: ReadonlyArray<string>): ReadonlyArray<string> =>
  areRising(ids) ? ids : ids.toSorted(order).filter((id, at, all) => id !== all[at - 1])

/** The type of each id's marker. Markers come in much the same order as the ids: most are the next one, and need not be looked up. */
const typesOf = (
  ids: ReadonlyArray<string>,
  applied: ReadonlyMap<string, string>
): ReadonlyArray<string | undefined> => {
  const markers = applied.entries()
  let next = markers.next()
  return ids.map((id) => {
    if (next.done === true || next.value[0] !== id) return applied.get(id)
    const [, type] = next.value
    next = markers.next()
    return type
  })
}

/** Markers without a seed. They are looked for only where there are more markers than seeds that have one. */
const orphansOf = (
  { applied }: PlanInput,
  known: ReadonlyArray<string>,
  done: ReadonlyArray<boolean>
): ReadonlyArray<string> => {
  let more = 0
  applied.forEach((type) => (more += type === seedMigration ? 1 : 0))
  for (const found of done) if (found) more--
  if (more === 0) return []
  const ids = new Set(known)
  return [...applied].filter(([id, type]) => type === seedMigration && !ids.has(id)).map(([id]) => id)
}

/** Ids of seeds that a marker of another type of operation bears. */
export const takenIds = ({ applied, seeds }: Pick<PlanInput, "seeds" | "applied">): ReadonlyArray<SeedProblem> => {
  const others = new Map<string, string>()
  applied.forEach((type, id) => void (type === seedMigration || others.set(id, type)))
  if (others.size === 0) return []
  return seeds.flatMap(({ id, path }) => {
    const type = others.get(id)
    if (type === undefined) return []
    const message = `${path}: the id "${id}" is taken by an operation of type "${type}"; rename the seed`
    return [new SeedProblem({ _tag: "IdTaken", id, path, message })]
  })
}

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
