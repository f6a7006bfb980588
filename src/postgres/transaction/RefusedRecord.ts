/**
 * The record of a step that was refused: why, told once its body is undone.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { AlreadyApplied, CommitRefused, DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import type { RefusedCommit, StepRecord } from "../../operation/Transactor.js"
import { databaseError, reasonOf, sqlState } from "../client/PgError.js"
import * as RowSecurity from "../client/RowSecurity.js"
import { literal } from "../client/SqlText.js"
import * as TableLock from "../client/TableLock.js"
import * as LogStatement from "../log/LogStatement.js"
import type { PgSchema } from "../schema/PgSchema.js"
import type { StepConnection } from "./StepConnection.js"
import * as StepStatements from "./StepStatements.js"

/** The transaction of the step. */
interface Refusing {
  readonly step: StepConnection
  readonly schema: PgSchema["Type"]
  readonly waitBounded: number
}

/** The marker cannot be written: now that the body is undone, it shows whether another wrote it without the lock, or the body itself. */
export const reason = (
  refusing: Refusing,
  { marker }: StepRecord,
  error: SqlError
): Effect.Effect<AlreadyApplied | CommitRefused | DatabaseError> => {
  const { schema, step } = refusing
  if (Option.contains(sqlState(error), TableLock.notAvailable)) return waitedInVain(refusing, marker.id)
  const refused = LogStatement.notStoredBy(schema, error)
  if (refused !== undefined) return Effect.succeed(refused)
  if (!isBodysOwn(error)) return Effect.succeed(databaseError("writing the marker")(error))
  const markerOf = `SELECT id FROM ${schema.markers} WHERE id = ${literal(marker.id)}`
  const look = Effect.flatMap(step.send(StepStatements.exists(schema.markers)), (results) =>
    (results.at(-1)?.rows.length ?? 0) > 0 ? step.send(markerOf) : Effect.succeed([])
  )
  return Effect.matchEffect(look, {
    onFailure: (failure) => Effect.succeed(databaseError("writing the marker")(failure)),
    onSuccess: (results): Effect.Effect<AlreadyApplied | CommitRefused | DatabaseError> =>
      (results.at(-1)?.rows.length ?? 0) > 0
        ? Effect.succeed(new AlreadyApplied({ id: marker.id }))
        : unseen(refusing, error)
  })
}

/** No marker is seen, though its key is taken: the body's own one is undone by now, or a policy hides one. */
const unseen = ({ schema, step }: Refusing, error: SqlError): Effect.Effect<CommitRefused | DatabaseError> => {
  const refused = new CommitRefused({ code: sqlState(error), reason: reasonOf(error) })
  if (!Option.contains(sqlState(error), "23505")) return Effect.succeed(refused)
  return Effect.match(step.send(RowSecurity.active(schema.markers)), {
    onFailure: () => refused,
    onSuccess: (results) =>
      (results.at(-1)?.rows.length ?? 0) > 0 ? RowSecurity.hidden("writing the marker", schema.markers, error) : refused
  })
}

/** What a body can bring about: a marker of its own, a transaction made read-only, the table dropped. Not: a right that is missing. */
const isBodysOwn = (error: SqlError): boolean =>
  Option.exists(sqlState(error), (state) => state === "23505" || state === "25006" || state === "42P01")

/** A table of the record stayed locked: whoever is in the way is named. */
const waitedInVain = ({ schema, step, waitBounded }: Refusing, id: string): Effect.Effect<DatabaseError> =>
  Effect.match(step.send(TableLock.text([schema.markers, schema.attempts], "write")), {
    onFailure: () => Option.none<TableLock.Locked>(),
    onSuccess: (results) => TableLock.lockedIn(results.at(-1)?.rows ?? [])
  }).pipe(
    Effect.map((locked) => {
      const { holder, table } = Option.getOrElse(locked, () => ({ table: schema.markers, holder: Option.none() }))
      const cause = new LockTimeout({ id, holder, waitedMs: waitBounded, table })
      return DatabaseError.because("writing the marker", cause.message, {
        code: Option.some(TableLock.notAvailable),
        cause
      })
    })
  )

/** Whether a refusal says nothing of the body: the marker is there already, or could not be written for another session. */
export const isNoAttempt = (refused: RefusedCommit): boolean =>
  refused._tag === "AlreadyApplied" ||
  (refused._tag === "DatabaseError" && Option.contains(refused.code, TableLock.notAvailable))
