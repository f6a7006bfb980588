/**
 * The source of a backfill, page by page in the order of its keys.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Backfill, RowsSource } from "../event/Backfill.js"
import { describe } from "../operation/ErrorDescription.js"
import type { DatabaseError } from "../operation/OperationError.js"
import { SourceFailed } from "./BackfillError.js"
import type { SourceRow } from "./BackfillStore.js"
import { BackfillStore } from "./BackfillStore.js"

/** How many rows of a source are read at a time where nothing measures that. */
const pageSize = 500

/** All rows, unlocked. */
export const pages = ({
  name,
  source
}: Backfill<unknown, never>): Stream.Stream<ReadonlyArray<SourceRow>, SourceFailed | DatabaseError, BackfillStore> =>
  source._tag === "Rows"
    ? groups(name, source, Option.none())
    : Stream.unfoldEffect(Option.some(Option.none<string>()), (at) =>
        Option.match(at, {
          onNone: () => Effect.succeedNone,
          onSome: (after) =>
            Effect.map(
              Effect.flatMap(BackfillStore, (store) => store.read(source, { after, limit: pageSize, lock: false })),
              (rows) =>
                Option.some([rows, rows.length < pageSize ? Option.none() : Option.some(lastKey(rows))] as const)
            )
        })
      )

/** The rows of a Stream behind a key. */
export const groups = (
  name: string,
  source: RowsSource<unknown, never>,
  after: Option.Option<string>
): Stream.Stream<ReadonlyArray<SourceRow>, SourceFailed> => {
  const failed = (cause: unknown) => new SourceFailed({ backfill: name, reason: describe(cause).message, cause })
  return source.rows(after).pipe(
    Stream.mapError(failed),
    Stream.mapEffect((row) =>
      Either.mapBoth(source.keyOf(row), { onLeft: failed, onRight: (key): SourceRow => ({ key, row }) })
    ),
    Stream.grouped(pageSize),
    Stream.map(Chunk.toReadonlyArray)
  )
}

/** The key behind which the next page begins. */
export const lastKey = (rows: ReadonlyArray<SourceRow>): Option.Option<string> =>
  Option.map(Option.fromNullable(rows.at(-1)), ({ key }) => key)
