/**
 * An event store that takes the read rows of a stream along when it archives it, in the same transaction.
 */
import * as Effect from "effect/Effect"
import { DatabaseError } from "../operation/OperationError.js"
import { Transactor } from "../operation/Transactor.js"
import type { StreamId } from "./Event.js"
import { EventFeed } from "./EventFeed.js"
import type { EventStore } from "./EventStore.js"
import { ProjectionRecords } from "./ProjectionRecords.js"
import { ReadTables } from "./ReadTables.js"
import type { Declared, RefoldError } from "./Refold.js"
import * as StreamRows from "./StreamRows.js"

/** Makes it of a store that archives streams and nothing else. */
export const make = (
  store: EventStore["Type"],
  projections: ReadonlyArray<Declared>
): Effect.Effect<EventStore["Type"], never, EventFeed | ReadTables | ProjectionRecords | Transactor> =>
  Effect.gen(function* () {
    const transactor = yield* Transactor
    const context = yield* Effect.context<EventFeed | ReadTables | ProjectionRecords>()
    const dropping = StreamRows.dropping(projections)
    const archive: EventStore["Type"]["archive"] = (stream) =>
      transactor.savepoint(
        Effect.zipRight(
          store.archive(stream),
          Effect.mapError(Effect.provide(followed(dropping, stream), context), asDatabaseError)
        )
      )
    return dropping.length === 0 ? store : { ...store, archive }
  })

/** The rows of the projections that fold an event of the stream. */
const followed = (projections: ReadonlyArray<Declared>, { aggregateId, tenantId }: StreamId) =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    const concerned = yield* Effect.filter(projections, ({ events }) =>
      Effect.map(feed.count({ tenantId, aggregateId, types: events }), (count) => count > 0)
    )
    const types = concerned.flatMap(({ events }) => events)
    yield* StreamRows.follow(concerned, [{ aggregateId, types }])
  })

const asDatabaseError = (error: RefoldError): DatabaseError =>
  error._tag === "DatabaseError"
    ? error
    : DatabaseError.because("dropping the rows of an archived stream", error.message, { cause: error })
