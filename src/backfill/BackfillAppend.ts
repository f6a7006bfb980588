/**
 * The append of a batch: all its events and the rows of the inline projections, or, where that fails, row by row in savepoints.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Projection } from "../event/Projection.js"
import { RowInvalid } from "../event/Backfill.js"
import { describe } from "../operation/ErrorDescription.js"
import { DatabaseError } from "../operation/OperationError.js"
import { Transactor } from "../operation/Transactor.js"
import type { Verdict } from "./BackfillRow.js"
import type { DatedEvent } from "./BackfillStore.js"
import { BackfillStore } from "./BackfillStore.js"

/** Appends what is to be appended, in the transaction of the fiber; answers with what became of each row. */
export type BackfillAppend = (
  verdicts: ReadonlyArray<Verdict>
) => Effect.Effect<ReadonlyArray<Verdict>, DatabaseError, BackfillStore>

/** With these projections. */
export const make = (
  projections: ReadonlyArray<Projection<unknown>>
): Effect.Effect<BackfillAppend, never, Transactor> =>
  Effect.map(Transactor, (transactor): BackfillAppend => {
    const append = (events: ReadonlyArray<DatedEvent>): Effect.Effect<void, unknown, BackfillStore> =>
      Effect.gen(function* () {
        const store = yield* BackfillStore
        if (!Arr.isNonEmptyReadonlyArray(events)) return
        const stored = yield* store.append(events)
        for (const projection of projections) {
          const folded = stored.filter(({ type }) => projection.events.includes(type))
          if (Arr.isNonEmptyReadonlyArray(folded)) yield* projection.apply(folded)
        }
      })

    const rowByRow = (verdicts: ReadonlyArray<Verdict>) =>
      Effect.forEach(verdicts, (verdict): Effect.Effect<Verdict, DatabaseError, BackfillStore> => {
        if (verdict._tag !== "Append") return Effect.succeed(verdict)
        return transactor.savepoint(Effect.sandbox(append(verdict.events))).pipe(
          Effect.as(verdict),
          Effect.catchAll((failure): Effect.Effect<Verdict, DatabaseError> => {
            const error = reasonOf(failure)
            return Option.match(fatal(error), {
              onSome: Effect.fail,
              onNone: () =>
                Effect.succeed({
                  _tag: "Failed",
                  key: verdict.key,
                  error: new RowInvalid({ reason: describe(error).message })
                })
            })
          })
        )
      })

    return (verdicts) => {
      const events = verdicts.flatMap((verdict) => (verdict._tag === "Append" ? verdict.events : []))
      return Effect.matchEffect(transactor.savepoint(Effect.sandbox(append(events))), {
        onSuccess: () => Effect.succeed(verdicts),
        onFailure: (failure) =>
          Option.match(fatal(reasonOf(failure)), { onSome: Effect.fail, onNone: () => rowByRow(verdicts) })
      })
    }
  })

const reasonOf = (failure: DatabaseError | Cause.Cause<unknown>): unknown =>
  failure instanceof DatabaseError ? failure : Cause.squash(failure)

/** The failure that no row is to blame for, as what ends the run. */
const fatal = (error: unknown): Option.Option<DatabaseError> => {
  if (error instanceof DatabaseError && error.connectionLost) return Option.some(error)
  const { code, message } = describe(error)
  if (code === null || !ofTheServer.test(code)) return Option.none()
  return Option.some(
    error instanceof DatabaseError
      ? error
      : DatabaseError.because("folding the events of a backfill", message, { code: Option.some(code), cause: error })
  )
}

/**
 * Classes of SQLSTATE (PostgreSQL manual, appendix A): the connection, the transaction, a statement that is wrong or not allowed, a server that is
 * out of something, busy, going down or broken.
 */
const ofTheServer = /^(?:08|25|40|42|53|55|57|58|XX)[0-9A-Z]{3}$/
