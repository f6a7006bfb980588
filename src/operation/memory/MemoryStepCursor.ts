/**
 * `StepCursor` of a `MemoryDatabase`: rows among its runs, undone with their step.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { randomUUID } from "node:crypto"
import type { DatabaseError } from "../OperationError.js"
import { outsideStep } from "../OutsideStep.js"
import { Replica } from "../Replica.js"
import { noAccess } from "../Run.js"
import { isUnfinished } from "../RunAdmission.js"
import { StepCursor } from "../StepCursor.js"
import * as MemoryDatabase from "./MemoryDatabase.js"
import type { Kept } from "./MemoryRunLog.js"
import { advanced, MemoryRuns, now, shown } from "./MemoryRunLog.js"
import { MemoryStep } from "./MemoryStep.js"

/** The cursors of a `MemoryDatabase`. */
export const layer: Layer.Layer<StepCursor, never, MemoryDatabase.MemoryDatabase | Replica> = Layer.effect(
  StepCursor,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const { host, pid } = yield* Replica
    const view = MemoryDatabase.view<MemoryRuns, ReadonlyArray<Kept>>(database, MemoryRuns, [])
    const isOf = (operationType: string, id: string) => (kept: Kept) =>
      kept.run.operationType === operationType && kept.run.name === id
    const inStep = <A>(action: string, effect: Effect.Effect<A>): Effect.Effect<A, DatabaseError> =>
      Effect.flatMap(Effect.serviceOption(MemoryStep), (step): Effect.Effect<A, DatabaseError> =>
        Option.isNone(step) ? outsideStep(action) : effect
      )
    const open = (operationType: string, id: string) =>
      Effect.map(view.get, (runs) =>
        Option.fromNullable(runs.find((kept) => isOf(operationType, id)(kept) && isUnfinished(kept.run)))
      )
    return StepCursor.of({
      read: (operationType, id) =>
        Effect.zipWith(open(operationType, id), now, (found, at) => Option.map(found, (kept) => shown(kept, at))),
      halfDone: (operationType) =>
        Effect.zipWith(
          view.get,
          now,
          (runs, at) =>
            new Map(
              runs
                .filter(({ run }) => run.operationType === operationType && isUnfinished(run))
                .map((kept) => [kept.run.name, shown(kept, at)])
            )
        ),
      write: (operationType, id, { definition, isLast, lease, total, ...made }) =>
        inStep(
          "writing the cursor",
          Effect.gen(function* () {
            const at = yield* now
            const found = yield* open(operationType, id)
            const before = Option.getOrElse(found, () => fresh(operationType, id, at))
            const next = advanced(before, { ...made, phase: "batches", total: Option.getOrUndefined(total) }, at)
            const run: Kept["run"] = {
              ...next.run,
              definition,
              owner: { host, pid },
              outcome: isLast ? "applied" : "running",
              endedAt: isLast ? Option.some(at) : Option.none(),
              leaseUntil: isLast ? Option.none() : Option.some(DateTime.addDuration(at, lease))
            }
            yield* view.update((runs) => [...runs.filter((kept) => kept.run.id !== run.id), { ...next, run }])
          })
        ),
      forget: (operationType, id) =>
        inStep(
          "forgetting the cursor",
          Effect.zipLeft(
            Effect.map(open(operationType, id), Option.isSome),
            view.update((runs) => runs.filter((kept) => !isOf(operationType, id)(kept)))
          )
        ),
      rename: (operationType, from, to) =>
        inStep(
          "renaming the cursor",
          Effect.zipLeft(
            Effect.map(open(operationType, from), Option.isSome),
            view.update((runs) =>
              runs.map((kept) => (isOf(operationType, from)(kept) ? { ...kept, run: { ...kept.run, name: to } } : kept))
            )
          )
        )
    })
  })
)

const fresh = (operationType: string, name: string, at: DateTime.Utc): Kept => ({
  run: {
    id: randomUUID(),
    operationType,
    name,
    params: {},
    definition: "",
    access: noAccess,
    phase: "batches",
    cursor: Option.none(),
    done: 0,
    total: Option.none(),
    counters: {},
    epoch: 1,
    owner: { host: "", pid: 0 },
    leaseUntil: Option.none(),
    startedAt: at,
    updatedAt: at,
    endedAt: Option.none(),
    outcome: "running",
    error: Option.none()
  },
  lanes: new Map(),
  epochAt: at,
  epochDone: 0
})
