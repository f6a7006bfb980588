/**
 * The record of skips. Before the tables are there a skip cannot be recorded; it is once this run, or another, has created them for other seeds.
 */
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type { NewAttempt } from "../../operation/Attempt.js"
import * as BoundedWait from "../../operation/BoundedWait.js"
import { describe } from "../../operation/ErrorDescription.js"
import { OperationLog } from "../../operation/OperationLog.js"

/** The skips of a run that are to be recorded when there is a table for them. */
export type Unrecorded = Ref.Ref<ReadonlyArray<NewAttempt>>

/** No record is a reason to fail, nor to wait long at the end of a run. */
const patience = "2 seconds"

/** Records a skip, or keeps it for later. */
export const record = (skip: NewAttempt, unrecorded: Unrecorded): Effect.Effect<void, never, OperationLog> =>
  Effect.flatMap(OperationLog, (log) => log.recordOnce(skip)).pipe(
    Effect.flatMap((isRecorded) => (isRecorded ? Effect.void : Ref.update(unrecorded, (skips) => [...skips, skip]))),
    Effect.catchAll(notRecorded)
  )

/** Records what was kept, or keeps it on. */
export const catchUp = (unrecorded: Unrecorded): Effect.Effect<void, never, OperationLog> =>
  Effect.flatMap(Ref.getAndSet(unrecorded, []), (skips) =>
    BoundedWait.within(
      Effect.forEach(skips, (skip) => record(skip, unrecorded), { discard: true }),
      patience
    ).pipe(Effect.catchAll(notRecorded))
  )

const notRecorded = (error: unknown): Effect.Effect<void> =>
  Effect.logWarning(`The skip was not recorded: ${describe(error).message}`)
