/**
 * What is done with the rows of a page: it is decided what becomes of each, and what is to be appended is appended in a batch of the run.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { streamKey } from "../event/AppendRules.js"
import type { Backfill, SqlSource } from "../event/Backfill.js"
import * as BatchSize from "../operation/BatchSize.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { Batch } from "../operation/Run.js"
import type { RunRefused } from "../operation/RunLog.js"
import type { BackfillAppend } from "./BackfillAppend.js"
import type { Progress } from "./BackfillProgress.js"
import type { Verdict } from "./BackfillRow.js"
import * as BackfillRow from "./BackfillRow.js"
import { lastKey } from "./BackfillSource.js"
import type { SourceRow } from "./BackfillStore.js"
import { BackfillStore } from "./BackfillStore.js"

/** What is to be done with rows. */
export const decide = (
  backfill: Backfill<unknown, never>,
  rows: ReadonlyArray<SourceRow>
): Effect.Effect<ReadonlyArray<Verdict>, DatabaseError, BackfillStore> =>
  Effect.gen(function* () {
    const store = yield* BackfillStore
    const given = BackfillRow.streamsOf(backfill, rows)
    const streams = given.flatMap(({ stream }) => (Either.isRight(stream) ? [stream.right] : []))
    const seen = Arr.isNonEmptyReadonlyArray(streams) ? yield* store.look(streams) : { now: new Date(0), streams: [] }
    const known = new Map(seen.streams.map((stream) => [streamKey(stream), stream]))
    return given.map((row) =>
      BackfillRow.verdict(
        row,
        backfill.name,
        Either.isRight(row.stream) ? known.get(streamKey(row.stream.right)) : undefined,
        seen.now
      )
    )
  })

/** The work of a batch; its value tells whether there were any rows. */
export type Work = (rows: ReadonlyArray<SourceRow>) => Effect.Effect<Batch<boolean>, DatabaseError, BackfillStore>

/** The work of a run, or of a lane of it. */
export const make =
  (backfill: Backfill<unknown, never>, append: BackfillAppend, progress: Progress, lane?: string): Work =>
  (rows) =>
    Effect.map(Effect.flatMap(decide(backfill, rows), append), (verdicts) => {
      const counters = progress.addAll(verdicts, lastKey(rows))
      const phase = lane === undefined ? "appending" : undefined
      return { value: rows.length > 0, phase, lane, cursor: progress.cursor(), done: rows.length, counters }
    })

/** Works on the rows of a source in SQL, up to a key where one is given: they are read in the transaction of their batch, locked where that can be. */
export const throughSql = (
  source: SqlSource,
  progress: Progress,
  handle: RunHandle,
  work: Work,
  upTo?: string
): Effect.Effect<void, DatabaseError | RunRefused, BackfillStore> =>
  Effect.gen(function* () {
    const store = yield* BackfillStore
    const lock = yield* store.canLock(source)
    const size = yield* BatchSize.make({ initial: 500, max: 5000 })
    const { total: known } = yield* handle.current
    let total = Option.isSome(known) ? undefined : yield* store.count(source)
    for (let isMore = true; isMore;) {
      const limit = yield* size.get
      const page = Effect.suspend(() => store.read(source, { after: progress.after, upTo, limit, lock }))
      const done = Effect.flatMap(page, work)
      isMore = yield* handle.batch(total === undefined ? done : counted(done, total), { size })
      total = undefined
    }
  })

const counted = <A, E, R>(batch: Effect.Effect<Batch<A>, E, R>, total: number): Effect.Effect<Batch<A>, E, R> =>
  Effect.map(batch, (made) => ({ ...made, total }))
