/**
 * The trial of a batch: its events are given to the inline projections in a transaction that is rolled back, as only they know what they refuse. No event
 * is stored, and no id is given.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Event } from "../event/Event.js"
import { Payload } from "../event/Event.js"
import type { Projection } from "../event/Projection.js"
import { DatabaseError } from "../operation/OperationError.js"
import { Transactor } from "../operation/Transactor.js"
import type { BackfillAppend } from "./BackfillAppend.js"
import type { Verdict } from "./BackfillRow.js"
import type { DatedEvent } from "./BackfillStore.js"
import { BackfillStore } from "./BackfillStore.js"

/** Answers as `append` does, and leaves nothing. */
export const tried = (
  append: BackfillAppend,
  projections: ReadonlyArray<Projection<unknown>>,
  verdicts: ReadonlyArray<Verdict>
): Effect.Effect<ReadonlyArray<Verdict>, DatabaseError, BackfillStore | Transactor> => {
  const isFed = (verdict: Verdict) =>
    verdict._tag === "Append" && projections.some(({ events }) => events.some((type) => verdict.types.has(type)))
  if (!verdicts.some(isFed)) return Effect.succeed(verdicts)
  return Effect.gen(function* () {
    const transactor = yield* Transactor
    const store = yield* BackfillStore
    const trial = Effect.flatMap(append(verdicts), (answered) => Effect.fail(new Over(answered))).pipe(
      Effect.provideService(BackfillStore, { ...store, append: seeming })
    )
    return yield* transactor.savepoint(trial)
  }).pipe(Effect.catchTag("Over", (over) => Effect.succeed(over.verdicts)))
}

/** A trial is over, and is to be undone. */
class Over {
  readonly _tag = "Over"
  constructor(readonly verdicts: ReadonlyArray<Verdict>) {}
}

/** The events as if they were stored; no stored one has such an id. */
const seeming = (events: NonEmptyReadonlyArray<DatedEvent>) =>
  Effect.map(
    Effect.forEach(events, (event, at) =>
      Effect.map(parsed(event.payload), (payload): Event => ({
        ...event,
        id: -1n - BigInt(at),
        payload,
        createdAt: DateTime.unsafeMake(event.createdAt)
      }))
    ),
    (made): NonEmptyReadonlyArray<Event> => made
  )

const parsePayload = Schema.decodeUnknown(Schema.parseJson(Payload))

const parsed = (text: string) =>
  Effect.catchAll(parsePayload(text), (cause) =>
    DatabaseError.because("appending the events of a backfill", "a payload is no JSON object", { cause })
  )
