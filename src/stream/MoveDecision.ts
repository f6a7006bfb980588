/**
 * The decision about a move, by what there is of the stream at both tenants. Pure.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { StreamPurged } from "../event/EventStore.js"
import type { MoveProblem } from "./MoveProblem.js"
import { ArchivedApart, KeysTaken, OtherAggregateType, SplitStream } from "./MoveProblem.js"
import type { MoveState } from "./StreamMoves.js"
import { StreamNotFound } from "./StreamProblem.js"

/** What is to be done: `none` where the stream is on its target already. */
export type Decision = "move" | "merge" | "none"

/** Decides about a move. Streams with events on both tenants are put together only where `merge` allows it. */
export const decide = (state: MoveState, merge: boolean): Either.Either<Decision, MoveProblem> => {
  const { aggregateId, from, source, target, to } = state
  const move = { aggregateId, from, to }
  const purged = source.isPurged ? from : target.isPurged ? to : undefined
  if (purged !== undefined) return Either.left(new StreamPurged({ tenantId: purged, aggregateId }))
  if (source.events === 0) {
    return target.events > 0 ? Either.right("none") : Either.left(new StreamNotFound({ tenantId: from, aggregateId }))
  }
  const [sourceType, targetType] = [source, target].map((place) => Option.getOrElse(place.aggregateType, () => ""))
  if (target.events > 0 && sourceType !== targetType) {
    return Either.left(new OtherAggregateType({ ...move, sourceType: sourceType ?? "", targetType: targetType ?? "" }))
  }
  if (target.events > 0 && !merge) {
    return Either.left(new SplitStream({ ...move, sourceEvents: source.events, targetEvents: target.events }))
  }
  if (state.takenKeys.length > 0) return Either.left(new KeysTaken({ ...move, keys: state.takenKeys }))
  const isApart = target.events > 0 ? source.isArchived !== target.isArchived : target.isArchived && !source.isArchived
  if (isApart) return Either.left(new ArchivedApart({ ...move, archived: source.isArchived ? from : to }))
  return Either.right(target.events > 0 ? "merge" : "move")
}
