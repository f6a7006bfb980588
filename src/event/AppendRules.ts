/**
 * The rules of an append that need no database: which version each stream must have, and that no idempotency key comes twice.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { Event, NewEvent, StreamId } from "./Event.js"
import { IdempotencyConflict, VersionConflict } from "./EventStore.js"

/** What an append expects of each stream: the version before its first event. Versions with a gap are a conflict. */
export const expectations = (
  events: NonEmptyReadonlyArray<NewEvent>
): Either.Either<ReadonlyArray<StreamId & { readonly expected: number }>, VersionConflict> => {
  const first = new Map<string, StreamId & { readonly expected: number }>()
  const last = new Map<string, number>()
  for (const { aggregateId, tenantId, version } of events) {
    const key = streamKey({ aggregateId, tenantId })
    const before = last.get(key)
    if (before === undefined) first.set(key, { aggregateId, tenantId, expected: version - 1 })
    else if (version !== before + 1) {
      const actual = Option.some(before)
      return Either.left(new VersionConflict({ aggregateId, tenantId, expected: version - 1, actual }))
    }
    last.set(key, version)
  }
  return Either.right([...first.values()])
}

/** A stream's name as one text, the same in either case of its letters. */
export const streamKey = ({ aggregateId, tenantId }: StreamId): string => `${tenantId}/${aggregateId}`.toLowerCase()

/** Fails with the first idempotency key of `events` that its tenant has in `earlier`, or twice in `events`. */
export const refuseTakenKeys = (
  earlier: ReadonlyArray<Event>,
  events: ReadonlyArray<NewEvent>
): Effect.Effect<void, IdempotencyConflict> => {
  const taken = new Set(earlier.flatMap(keyOf))
  for (const event of events) {
    const [key] = keyOf(event)
    if (key === undefined) continue
    if (taken.has(key)) {
      const { idempotencyKey = "" } = event.metadata
      return new IdempotencyConflict({ tenantId: event.tenantId, idempotencyKey })
    }
    taken.add(key)
  }
  return Effect.void
}

const keyOf = ({ metadata, tenantId }: NewEvent): ReadonlyArray<string> =>
  metadata.idempotencyKey === undefined ? [] : [`${tenantId}/${metadata.idempotencyKey}`]
