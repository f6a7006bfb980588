/**
 * A standby refuses what writes for a reason that its errors do not name: it is asked, once it has refused.
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { DatabaseError } from "../../operation/OperationError.js"
import { reasonOf } from "./PgError.js"

/** read_only_sql_transaction; feature_not_supported, which it answers to BEGIN READ WRITE. */
const refusals = new Set(["25006", "0A000"])

const question = "SELECT pg_is_in_recovery() AS standby"

/** The failure, which says so where the server is a standby; `ask` sends a text and gives the rows of its last statement. */
export const explained = (
  failure: DatabaseError,
  ask: (text: string) => Effect.Effect<ReadonlyArray<unknown>, SqlError>
): Effect.Effect<never, DatabaseError> =>
  Option.exists(failure.code, (code) => refusals.has(code))
    ? Effect.flatMap(
        Effect.orElseSucceed(ask(question), () => []),
        ([row]) => (Predicate.hasProperty(row, "standby") && row.standby === true ? onStandby(failure) : failure)
      )
    : failure

const onStandby = ({ action, cause, code, reason }: DatabaseError): DatabaseError =>
  DatabaseError.because(
    action,
    `the server is a standby (in recovery), which takes no writes: name the primary server in DATABASE_URL (${cause instanceof SqlError ? reasonOf(cause) : reason})`,
    { code }
  )
