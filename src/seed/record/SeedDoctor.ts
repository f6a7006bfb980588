/**
 * Everything that can be found before seeds are applied: in the database, in the source, in the record of earlier attempts, and among the
 * flags. Writes nothing.
 */
import * as Effect from "effect/Effect"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import { wrong } from "../../operation/HealthFinding.js"
import type { SettingError, OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import type { OperationLock } from "../../operation/OperationLock.js"
import type { StepCursor } from "../../operation/StepCursor.js"
import type { OperationLog } from "../../operation/OperationLog.js"
import type { SeedSource } from "../source/SeedSource.js"
import * as SeedFindings from "./SeedFindings.js"

/** The findings on the database, then those on the seeds. Loads the seeds that are not applied. */
export const examine: Effect.Effect<
  ReadonlyArray<Finding>,
  DatabaseError | SettingError,
  DatabaseHealth | SeedSource | OperationLog | OperationLock | OperationConfig | StepCursor | WriteDispatcher
> = Effect.gen(function* () {
  const health = yield* DatabaseHealth
  const database = yield* health.examine
  const seeds = yield* Effect.suspend(() => SeedFindings.examineSeeds).pipe(
    Effect.catchTags({
      // The tables cannot be read as they are, or not by this role, which the findings on the database say.
      SeedsInconsistent: () => Effect.map(SeedFindings.flags(), (found) => [found]),
      LockTimeout: (error) => Effect.map(SeedFindings.flags(), (found) => [locked(error), found]),
      DatabaseError: (error) =>
        error.connectionLost ? error : Effect.map(SeedFindings.flags(), (found) => [unread(error), found])
    })
  )
  // What the seeds make of something that the database has says more of it.
  const names = new Set(seeds.map(({ name }) => name))
  return [...database.filter(({ name }) => !names.has(name)), ...seeds]
}).pipe(Effect.withSpan("SeedDoctor.examine"))

const locked = ({ message }: LockTimeout): Finding =>
  wrong(
    "seeds",
    "database",
    `their record cannot be read: ${message}`,
    "Wait for the session that has locked the table, or end it: SELECT pg_terminate_backend(<pid>)."
  )

const unread = ({ message }: DatabaseError): Finding =>
  wrong(
    "seeds",
    "database",
    `their record cannot be read: ${message}`,
    "Grant the role SELECT on the marker and attempts tables."
  )
