/**
 * The start of a run: a new one, an unfinished one that is gone on with, or the wait for another process that is in it.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { TableMismatch } from "./DatabaseHealth.js"
import * as LockWait from "./LockWait.js"
import { OperationConfig } from "./OperationConfig.js"
import type { DatabaseError, LockTimeout } from "./OperationError.js"
import type { RunDefinition } from "./RunDefinition.js"
import type { Run, RunInProgress, RunLane } from "./Run.js"
import { noAccess, RunCancelled, RunFailedElsewhere } from "./Run.js"
import { inTheWay } from "./RunAdmission.js"
import type { RunRefused, RunRequest } from "./RunLog.js"
import { RunLog } from "./RunLog.js"
import * as RunConclusion from "./RunConclusion.js"
import type { RunObserver } from "./RunObserver.js"
import { progressText, title } from "./RunObserver.js"
import type { Restore } from "./Transactor.js"

/** Why a run was not begun. */
export type StartError = RunInProgress | RunFailedElsewhere | RunRefused | TableMismatch | LockTimeout | DatabaseError

/** How it started. */
export type Started<E, R> = OwnRun<E, R> | { readonly _tag: "DoneElsewhere"; readonly run: Run }

/** It is this process's: from here on its end is to be recorded, whatever becomes of it. */
export interface OwnRun<out E, out R> {
  readonly _tag: "Own"
  readonly run: Run
  readonly lanes: ReadonlyArray<RunLane>
  readonly isResumed: boolean
  /** Drops what the run before it left; to be run before its work. */
  readonly prepare: Effect.Effect<void, E | DatabaseError, R>
}

/**
 * Begins the run or goes on with it, or waits while another process is in it. `restore`, that of an `uninterruptibleMask`, makes the waits
 * interruptible: a run that was begun is not lost with the fiber that began it.
 */
export const start = <A, E, R>(
  definition: RunDefinition<A, E, R>,
  observer: RunObserver,
  restore: Restore
): Effect.Effect<Started<E, R>, E | StartError, R | RunLog | OperationConfig> =>
  Effect.gen(function* () {
    const log = yield* RunLog
    const request = requestOf(definition)
    let dropped: string | undefined
    for (let restart = definition.restart ?? false; ;) {
      const begun = yield* log.begin(request, restore)
      switch (begun._tag) {
        case "New": {
          const prepare = Option.match(
            Option.filter(begun.previous, (run) => hasLeftSomething(run) && run.id !== dropped),
            {
              onNone: () => Effect.void,
              onSome: (previous) => log.clear(previous, definition.drop(previous))
            }
          )
          return { _tag: "Own", run: begun.run, lanes: [], isResumed: false, prepare }
        }
        case "Resumed": {
          const { lanes, run } = begun
          if (!restart && run.definition === definition.definition)
            return { _tag: "Own", run, lanes, isResumed: true, prepare: Effect.void }
          yield* Effect.logInfo(
            restart ? "begins anew" : "begins anew, as its definitions are others than when it was begun"
          )
          restart = false
          yield* Effect.onError(log.end(run, anew(definition), definition.drop(run), restore), (cause) =>
            RunConclusion.record(log, definition, run, cause)
          )
          dropped = run.id
          break
        }
        case "Busy": {
          const ended = yield* restore(waitFor(begun.run, definition, observer, restart))
          if (Option.isSome(ended)) return { _tag: "DoneElsewhere", run: ended.value }
        }
      }
    }
  })

const requestOf = <A, E, R>(definition: RunDefinition<A, E, R>): RunRequest => ({
  operationType: definition.operationType,
  name: definition.name,
  params: definition.params,
  definition: definition.definition,
  access: definition.access ?? noAccess,
  tables: definition.tables ?? [],
  isMarked: definition.marker !== undefined
})

const anew = ({ appliedBy }: Pick<RunDefinition<never, never, never>, "appliedBy">) => ({
  outcome: "cancelled" as const,
  error: Option.none(),
  appliedBy,
  marker: Option.none()
})

const hasLeftSomething = ({ outcome }: Run): boolean => outcome === "failed" || outcome === "cancelled"

/** Until the other process is through, which is the answer, or it is this one's turn. */
const waitFor = <A, E, R>(
  busy: Run,
  { definition }: RunDefinition<A, E, R>,
  observer: RunObserver,
  restart: boolean
): Effect.Effect<Option.Option<Run>, StartError, RunLog | OperationConfig> =>
  Effect.gen(function* () {
    if (restart) return yield* inTheWay(busy, "a process is in it: only what nobody is in is begun anew")
    if (busy.definition !== definition) return yield* inTheWay(busy, "it works by other definitions")
    const log = yield* RunLog
    const { lockTimeout } = yield* OperationConfig
    const since = yield* Clock.currentTimeMillis
    let mentionedAt: number | undefined
    for (let run = busy; ;) {
      yield* observer.waiting(run)
      const waited = (yield* Clock.currentTimeMillis) - since
      if (mentionedAt === undefined || waited - mentionedAt >= Duration.toMillis(LockWait.mentionEvery)) {
        mentionedAt = waited
        yield* Effect.logInfo(
          `${title(run)} is under way in process ${run.owner.pid} on ${run.owner.host}, which is waited for: ${progressText(run)}`
        )
      }
      if (waited >= Duration.toMillis(lockTimeout))
        return yield* inTheWay(run, `it was not through after ${Math.round(waited / 1000)} s`)
      yield* Effect.sleep(Duration.min(LockWait.longest, Duration.millis(Duration.toMillis(lockTimeout) - waited)))
      const found = yield* log.find(run.id)
      if (Option.isNone(found)) return Option.none()
      run = found.value
      if (run.outcome === "applied") return Option.some(run)
      if (run.outcome === "failed") return yield* failedElsewhere(run)
      if (run.outcome === "cancelled") return yield* new RunCancelled({ id: run.id })
      if (!run.isLive) return Option.none()
    }
  })

const failedElsewhere = ({ error, id, name, operationType, owner }: Run): RunFailedElsewhere =>
  new RunFailedElsewhere({ id, operationType, name, host: owner.host, pid: owner.pid, error: Option.getOrNull(error) })
