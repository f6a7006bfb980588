/**
 * The findings on seeds: those that do not load, were interrupted or edited, and the skip flags that are set.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import { fine, wrong } from "../../operation/HealthFinding.js"
import type { OperationConfig, SettingError } from "../../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import type { OperationLock } from "../../operation/OperationLock.js"
import type { StepCursor } from "../../operation/StepCursor.js"
import type { OperationLog } from "../../operation/OperationLog.js"
import { afterInterruption } from "../HalfDoneSeed.js"
import * as RenamedSeeds from "../plan/RenamedSeeds.js"
import * as SkipFlag from "../plan/SkipFlag.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import { SeedSource } from "../source/SeedSource.js"
import type { Status } from "./SeedStatus.js"
import * as SeedStatus from "./SeedStatus.js"

/** What can be found of the seeds without a database: those that do not load, and flags. */
export const examineSource: typeof examineSeeds = Effect.gen(function* () {
  const status = yield* SeedStatus.status
  return [...unloadable(status), yield* flags(status)]
})

/** The findings on the seeds alone. */
export const examineSeeds: Effect.Effect<
  ReadonlyArray<Finding>,
  SeedsInconsistent | LockTimeout | DatabaseError | SettingError,
  DatabaseHealth | SeedSource | OperationLog | OperationLock | OperationConfig | StepCursor | WriteDispatcher
> = Effect.gen(function* () {
  const status = yield* SeedStatus.status
  return [
    ...unloadable(status),
    interrupted(status),
    failed(status),
    changed(status),
    orphans(status),
    ...renamed(status),
    ...(yield* pooled(status)),
    yield* flags(status)
  ]
})

/** Those that a pooler keeps from being applied, as they need a session of their own: the finding that there is one says so then. */
const pooled = ({ seeds }: Status): Effect.Effect<ReadonlyArray<Finding>, DatabaseError, DatabaseHealth> =>
  Effect.gen(function* () {
    const outside = seeds.filter(({ flagSet, transaction }) => Option.contains(transaction, "none") && !flagSet)
    if (outside.length === 0 || (yield* Effect.flatMap(DatabaseHealth, ({ hasSessions }) => hasSessions))) return []
    const ids = outside.map(({ id }) => `"${id}"`).join(", ")
    const detail = `a connection pooler stands before the server and may give each transaction another session: refused behind it, as they run outside any transaction: ${ids}`
    const fix = "Connect to the server itself, or to a pool in session mode, to apply them."
    return [wrong("pooler", "state", detail, fix)]
  })

/** One finding for each problem, as each has a file of its own. */
const unloadable = ({ problems, seeds }: Status): ReadonlyArray<Finding> =>
  problems.length === 0
    ? [fine("seeds", `${seeds.length === 1 ? "1 seed" : `${seeds.length} seeds`}, every one that is not applied loads`)]
    : problems.map(({ _tag, message }) =>
        wrong("seeds", "state", `${_tag}: ${message}`, "Mend it, then es-ops seed:check.")
      )

const interrupted = ({ seeds }: Status): Finding => {
  const found = seeds.filter(({ state }) => state === "interrupted").map(({ id }) => id)
  const [id] = found
  if (id === undefined) return fine("interrupted", "no attempt is without an end")
  const fix = `Look at what it left behind; then ${afterInterruption(id)}.`
  return wrong("interrupted", "state", `an attempt was interrupted, or never ended: ${found.join(", ")}`, fix)
}

/** An applied seed's failures are behind it. */
const failed = ({ seeds }: Status): Finding => {
  const found = seeds.flatMap(({ id, lastAttempt, state }) =>
    state !== "pending" && state !== "late"
      ? []
      : Option.toArray(Option.filter(lastAttempt, ({ outcome }) => outcome === "failed")).map(({ error }) => ({
          id,
          reason: Option.match(error, { onNone: () => "", onSome: ({ message }) => `: ${message}` })
        }))
  )
  const [first] = found
  if (first === undefined) return fine("failed", "no seed that is to be run failed at its last attempt")
  const detail = found.map(({ id, reason }) => `"${id}" failed at its last attempt${reason}`).join("\n")
  return wrong("failed", "state", detail, `es-ops history ${first.id} has its attempts; then es-ops seed:apply again.`)
}

/** One whose source a pending seed has is among the renamed. */
const orphans = ({ seeds }: Status): Finding => {
  const moved = new Set(seeds.flatMap(({ renamedFrom }) => Option.toArray(renamedFrom)))
  const found = seeds.filter(({ id, state }) => state === "orphan" && !moved.has(id)).map(({ id }) => id)
  const [first] = found
  if (first === undefined) return fine("orphans", "every applied seed has its file")
  const fix = `Nothing stops for it. If its file was renamed: es-ops seed:rename ${first} <new id> --reason <text>; if it is gone for good: es-ops seed:unmark ${first} --reason <text>.`
  return wrong("orphans", "state", `applied, but there is no file: ${found.join(", ")}`, fix)
}

const changed = (status: Status): Finding => {
  const found = status.seeds.filter((seed) => seed.changed).map(({ id }) => id)
  if (found.length === 0) return fine("changed", "no applied seed was edited")
  const fix = "An applied seed is not run again: put the change into a new seed (es-ops seed:new)."
  return wrong("changed", "state", `edited since it was applied: ${found.join(", ")}`, fix)
}

/** With the policy "fail" each is among the problems. */
const renamed = ({ problems, seeds }: Status): ReadonlyArray<Finding> => {
  const found = seeds.flatMap(({ id, renamedFrom }) =>
    Option.toArray(Option.map(renamedFrom, (from) => ({ id, from })))
  )
  return found.length === 0 || problems.some(({ _tag }) => _tag === "RenamedSeed")
    ? []
    : [wrong("renamed", "state", found.map(RenamedSeeds.warning).join("\n"), `${RenamedSeeds.remedies(found)}.`)]
}

/** The finding on the flags: those of the seeds, and what is the flag of none. */
export const flags = (status?: Status): Effect.Effect<Finding, SettingError, SeedSource> =>
  Effect.gen(function* () {
    const { entries } = yield* Effect.flatMap(SeedSource, ({ discover }) => discover)
    const names = new Set([SkipFlag.all, ...entries.map(({ id }) => SkipFlag.nameOf(id))])
    const isAllSet = (yield* SkipFlag.read(SkipFlag.all)) === "set"
    const found = yield* Effect.forEach(names, (name) =>
      Effect.map(SkipFlag.read(name), (value) =>
        value === "set"
          ? Option.some(`${name}=1${isAllSet ? "" : idle(name, status?.seeds ?? [])}`)
          : value === "mistaken"
            ? Option.some(SkipFlag.mistaken(name))
            : Option.none()
      )
    )
    const strangers = yield* SkipFlag.strangers([
      ...entries.map(({ id }) => id),
      ...(status?.seeds ?? []).map(({ id }) => id)
    ])
    const set = [...found.flatMap(Option.toArray), ...strangers.map(SkipFlag.strange)]
    return set.length === 0
      ? fine("flags", "no skip flag is set")
      : wrong(
          "flags",
          "state",
          set.join("\n"),
          "Unset it when what it skips is to be applied, or when it skips nothing."
        )
  })

/** Why a flag skips nothing, if so. */
const idle = (name: string, seeds: Status["seeds"]): string => {
  const named = seeds.filter(({ id, state }) => state !== "orphan" && SkipFlag.nameOf(id) === name)
  const waiting = named.filter(({ state }) => state !== "applied")
  const ids = (waiting.length > 0 ? waiting : named).map(({ id }) => `"${id}"`)
  if (named.length === 0 || waiting.some(({ skippable }) => !Option.contains(skippable, false))) return ""
  const what = ids.length === 1 ? `${ids.join("")} is` : `${ids.join(" and ")} are`
  return `, which skips nothing: ${what} ${waiting.length === 0 ? "applied" : "not skippable"}`
}
