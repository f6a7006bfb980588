/**
 * `RunLog` of a `MemoryDatabase`: runs as they stand in it, and batches that are undone as a whole.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { randomUUID } from "node:crypto"
import * as OperationConfig from "../OperationConfig.js"
import { Replica } from "../Replica.js"
import type { BatchProgress, Run, RunCounters, RunKey, RunLane } from "../Run.js"
import * as Runs from "../Run.js"
import { isCancellable, isOf, isUnfinished } from "../RunAdmission.js"
import * as RunAdmission from "../RunAdmission.js"
import * as RunAttempt from "../RunAttempt.js"
import type { Begun, RunEnding, RunRequest } from "../RunLog.js"
import { RunLog } from "../RunLog.js"
import { Transactor } from "../Transactor.js"
import * as MemoryDatabase from "./MemoryDatabase.js"
import * as MemoryLog from "./MemoryLog.js"

/** A run as it is kept: with its lanes, and what its rate is told from. */
export interface Kept {
  readonly run: Omit<Run, "isLive" | "rate">
  readonly lanes: ReadonlyMap<string, RunLane & { readonly counters: RunCounters }>
  readonly epochAt: DateTime.Utc
  readonly epochDone: number
}

/** The runs as they stand in a `MemoryDatabase`, in the order in which they began. */
export class MemoryRuns extends Context.Tag("effect-es-ops/MemoryRuns")<MemoryRuns, ReadonlyArray<Kept>>() {}

/** The runs of a `MemoryDatabase`. */
export const layer: Layer.Layer<
  RunLog,
  never,
  MemoryDatabase.MemoryDatabase | Transactor | Replica | OperationConfig.OperationConfig
> = Layer.effect(
  RunLog,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const transactor = yield* Transactor
    const owner = yield* Replica
    const { version } = yield* OperationConfig.OperationConfig
    const view = MemoryDatabase.view<MemoryRuns, ReadonlyArray<Kept>>(database, MemoryRuns, [])
    const log = MemoryLog.viewOf(database)
    const all = Effect.zipWith(view.get, now, (runs, at) => runs.map((kept) => shown(kept, at)))
    const change = (id: string, f: (kept: Kept) => Kept) =>
      view.update((runs) => runs.map((kept) => (kept.run.id === id ? f(kept) : kept)))

    /** The run, if it is still this owner's. */
    const own = ({ epoch, id }: RunKey): Effect.Effect<void, Runs.RunCancelled | Runs.RunLost> =>
      Effect.flatMap(all, (runs): Effect.Effect<void, Runs.RunCancelled | Runs.RunLost> => {
        const found = runs.find((run) => run.id === id)
        if (found?.outcome === "cancelled") return new Runs.RunCancelled({ id })
        return found?.epoch === epoch && found.outcome === "running" ? Effect.void : new Runs.RunLost({ id })
      })

    const keep = (id: string, progress: BatchProgress) =>
      Effect.flatMap(now, (at) => change(id, (kept) => advanced(kept, progress, at)))

    const lanesOf = (id: string) =>
      Effect.map(view.get, (runs) =>
        runs.flatMap(({ lanes, run }) =>
          run.id === id
            ? [...lanes.values()].map(({ batches, cursor, done, lane }) => ({ batches, cursor, done, lane }))
            : []
        )
      )

    /** The lane is where this owner knows it to be. */
    const inLane = (id: string, { after, lane }: BatchProgress) =>
      lane === undefined || after === undefined
        ? Effect.void
        : Effect.flatMap(lanesOf(id), (lanes) =>
            (lanes.find((one) => one.lane === lane)?.batches ?? 0) === after ? Effect.void : new Runs.RunLost({ id })
          )

    const record = (run: Run, ending: RunEnding, at: DateTime.Utc) => {
      const { attempt, marker } = RunAttempt.make(run, ending, { owner, version, at })
      return Option.match(marker, {
        onNone: () => log.record(attempt),
        // The id of a run is nobody else's.
        onSome: (given) => Effect.orDie(log.mark({ attempt, marker: given }))
      })
    }

    const begin = (request: RunRequest): Effect.Effect<Begun, Runs.RunInProgress> =>
      Effect.gen(function* () {
        const at = yield* now
        const runs = yield* all
        const open = runs.find((run) => isUnfinished(run) && isOf(request)(run))
        const refused = RunAdmission.refusal(request, runs.filter(isUnfinished))
        if (Option.isSome(refused)) return yield* refused.value
        if (open?.isLive === true) return { _tag: "Busy", run: open }
        const mine = { host: owner.host, pid: owner.pid }
        if (open !== undefined) {
          const taken = { epoch: open.epoch + 1, owner: mine, outcome: "running", leaseUntil: leaseFrom(at) } as const
          yield* change(open.id, (kept) => ({
            ...kept,
            run: { ...kept.run, ...taken },
            epochAt: at,
            epochDone: open.done
          }))
          const lanes = yield* lanesOf(open.id)
          return { _tag: "Resumed", run: { ...open, ...taken, isLive: true, rate: Option.none() }, lanes }
        }
        const run = fresh(request, randomUUID(), mine, at)
        yield* view.update((kept) => [...kept, { run, lanes: new Map(), epochAt: at, epochDone: 0 }])
        return {
          _tag: "New",
          run: { ...run, isLive: true, rate: Option.none() },
          previous: Option.fromNullable(runs.findLast(isOf(request)))
        }
      })

    return RunLog.of({
      begin: (request) => transactor.savepoint(begin(request)),
      join: (key) =>
        Effect.gen(function* () {
          yield* own(key)
          const run = (yield* all).find(({ id }) => id === key.id)
          return run === undefined ? yield* new Runs.RunLost({ id: key.id }) : { run, lanes: yield* lanesOf(key.id) }
        }),
      renew: (run) =>
        transactor.savepoint(
          Effect.zipRight(
            own(run),
            Effect.flatMap(now, (at) =>
              change(run.id, (kept) => ({ ...kept, run: { ...kept.run, leaseUntil: leaseFrom(at) } }))
            )
          )
        ),
      batch: (run, work) =>
        transactor.savepoint(
          Effect.gen(function* () {
            yield* own(run)
            const { value, ...progress } = yield* work
            yield* own(run)
            yield* inLane(run.id, progress)
            yield* keep(run.id, progress)
            return value
          })
        ),
      end: (run, ending, work, restore = identity) =>
        transactor.savepoint(
          Effect.gen(function* () {
            yield* own(run)
            yield* restore(work)
            yield* keep(run.id, ending)
            const at = yield* now
            yield* change(run.id, (kept) => ({ ...kept, run: ended(kept.run, ending, at) }))
            const [found] = (yield* all).filter(({ id }) => id === run.id)
            if (found !== undefined) yield* record(found, ending, at)
          })
        ),
      clear: (run, work) =>
        transactor.savepoint(
          Effect.flatMap(all, (runs) =>
            runs.some((other) => other.id === run.id && isUnfinished(other)) ? Effect.void : work
          )
        ),
      cancel: (id, appliedBy) =>
        transactor.savepoint(
          Effect.gen(function* () {
            const found = (yield* all).find((run) => run.id === id && isCancellable(run))
            if (found === undefined) return Option.none()
            const at = yield* now
            const ending: RunEnding = { outcome: "cancelled", error: Option.none(), appliedBy, marker: Option.none() }
            yield* change(id, (kept) => ({
              ...kept,
              run: { ...ended(kept.run, ending, at), epoch: kept.run.epoch + 1 }
            }))
            yield* record({ ...found, outcome: "cancelled" }, ending, at)
            return Option.fromNullable((yield* all).find((run) => run.id === id))
          })
        ),
      find: (id) => Effect.map(all, (runs) => Option.fromNullable(runs.find((run) => run.id === id))),
      unfinished: Effect.map(all, (runs) => runs.filter(isUnfinished)),
      newest: (operationType) =>
        Effect.map(
          all,
          (runs) => new Map(runs.filter((run) => run.operationType === operationType).map((run) => [run.name, run]))
        )
    })
  })
)

/** The time, as the database has it. */
export const now = Effect.map(Clock.currentTimeMillis, (at) => DateTime.unsafeMake(at))

const leaseFrom = (at: DateTime.Utc) => Option.some(DateTime.addDuration(at, Duration.seconds(Runs.lease.seconds)))

const fresh = (request: RunRequest, id: string, owner: Run["owner"], at: DateTime.Utc): Kept["run"] => ({
  id,
  operationType: request.operationType,
  name: request.name,
  params: request.params,
  definition: request.definition,
  access: request.access,
  phase: "begun",
  cursor: Option.none(),
  done: 0,
  total: Option.none(),
  counters: {},
  epoch: 1,
  owner,
  leaseUntil: leaseFrom(at),
  startedAt: at,
  updatedAt: at,
  endedAt: Option.none(),
  outcome: "running",
  error: Option.none()
})

/** With what its lanes have done, and what can be told of it now only. */
export const shown = ({ epochAt, epochDone, lanes, run }: Kept, at: DateTime.Utc): Run => {
  const parts = [...lanes.values()]
  const done = parts.reduce((sum, lane) => sum + lane.done, run.done)
  return {
    ...run,
    done,
    counters: parts.reduce((sum, lane) => added(sum, lane.counters), run.counters),
    isLive:
      run.outcome === "running" &&
      Option.exists(run.leaseUntil, (until) => typeof until !== "string" && DateTime.greaterThanOrEqualTo(until, at)),
    rate: Runs.rateOf(done - epochDone, millis(run.updatedAt) - DateTime.toEpochMillis(epochAt))
  }
}

const millis = (time: Run["updatedAt"]): number => (typeof time === "string" ? 0 : DateTime.toEpochMillis(time))

const added = (counters: RunCounters, more: RunCounters = {}): RunCounters => ({
  ...counters,
  ...Object.fromEntries(Object.entries(more).map(([key, count]) => [key, (counters[key] ?? 0) + count]))
})

/** With the progress of a batch. */
export const advanced = (kept: Kept, progress: BatchProgress, at: DateTime.Utc): Kept => {
  const { counters, cursor, done = 0, lane, phase = kept.run.phase, total } = progress
  const run = {
    ...kept.run,
    phase,
    updatedAt: at,
    total: Option.orElse(Option.fromNullable(total), () => kept.run.total)
  }
  const at0 = { cursor: Option.none<unknown>(), done: 0, counters: {} }
  const before = lane === undefined ? run : (kept.lanes.get(lane) ?? at0)
  const next = {
    cursor: cursor === undefined ? before.cursor : Option.some(cursor),
    done: before.done + done,
    counters: added(before.counters, counters)
  }
  return lane === undefined
    ? { ...kept, run: { ...run, ...next } }
    : {
        ...kept,
        run,
        lanes: new Map([...kept.lanes, [lane, { lane, batches: (kept.lanes.get(lane)?.batches ?? 0) + 1, ...next }]])
      }
}

const ended = (run: Kept["run"], { error, outcome }: RunEnding, at: DateTime.Utc): Kept["run"] => ({
  ...run,
  outcome,
  error,
  leaseUntil: Option.none(),
  updatedAt: at,
  endedAt: outcome === "paused" ? Option.none() : Option.some(at)
})
