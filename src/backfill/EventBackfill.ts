/**
 * Backfills events: rows from before event sourcing become events, each row once, in batches that lock what they read.
 */
import * as Arr from "effect/Array"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { streamKey } from "../event/AppendRules.js"
import type { Backfill, RowsSource, SqlSource } from "../event/Backfill.js"
import { Features } from "../event/Features.js"
import type { AppliedBy } from "../operation/Operation.js"
import * as BatchSize from "../operation/BatchSize.js"
import { describe } from "../operation/ErrorDescription.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunError, RunHandle, RunResult } from "../operation/OperationRun.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { Batch, Run } from "../operation/Run.js"
import type { RunLog, RunRefused } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import { Transactor } from "../operation/Transactor.js"
import * as BackfillAppend from "./BackfillAppend.js"
import type { Verdict } from "./BackfillRow.js"
import * as BackfillRow from "./BackfillRow.js"
import type { SourceRow } from "./BackfillStore.js"
import { BackfillStore } from "./BackfillStore.js"

/** No feature has a backfill of this name. */
export class UnknownBackfill extends Schema.TaggedError<UnknownBackfill>()("UnknownBackfill", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const known = this.known.length === 0 ? "no feature has one" : `there are: ${this.known.join(", ")}`
    return `no backfill is named "${this.name}"; ${known}`
  }
}

/** The source of a backfill cannot be read. */
export class SourceFailed extends Schema.TaggedError<SourceFailed>()("SourceFailed", {
  backfill: Schema.String,
  reason: Schema.String,
  cause: Schema.Defect
}) {
  override get message(): string {
    return `the rows of backfill "${this.backfill}" cannot be read: ${this.reason}`
  }
}

/** What is backfilled, and for whom. */
export interface BackfillOptions {
  /** The name of the backfill. */
  readonly backfill: string
  readonly appliedBy: AppliedBy
  readonly restart?: boolean | undefined
  readonly observer?: RunObserver | undefined
}

/** A row that was left out, and why. */
export interface FailedRow {
  readonly key: string
  readonly error: { readonly _tag: string; readonly message: string }
}

/** What a backfill did, or in a plan would do. */
export interface BackfillReport {
  readonly backfill: string
  /** How many rows the source had. */
  readonly rows: number
  /** How many of them became events, and how many events. */
  readonly appended: number
  readonly events: number
  /** Rows that were events already. */
  readonly done: number
  /** Rows that are not what their events were made of: the first of them. */
  readonly changed: number
  readonly changedKeys: ReadonlyArray<string>
  readonly failed: number
  readonly failures: ReadonlyArray<FailedRow>
}

/** What a backfill would do. */
export interface BackfillPlan extends BackfillReport {
  /** Whether rows are locked while their events are appended: where not, the application must not change them meanwhile. */
  readonly locksRows: boolean
}

type WorkError = SourceFailed | DatabaseError | RunRefused

type Requirements = Features | BackfillStore | Transactor

/** What a backfill would do, row by row; nothing is written. */
export const plan = (
  name: string
): Effect.Effect<BackfillPlan, UnknownBackfill | SourceFailed | DatabaseError, Features | BackfillStore> =>
  Effect.gen(function* () {
    const backfill = yield* named(name)
    const store = yield* BackfillStore
    const progress = new Progress(name, undefined)
    yield* Stream.runForEach(pages(store, backfill), (rows) =>
      Effect.map(decide(backfill, rows), (verdicts) => {
        for (const verdict of verdicts) progress.add(verdict)
      })
    )
    const { source } = backfill
    return { ...progress.report(), locksRows: source._tag === "Sql" && (yield* store.canLock(source)) }
  })

/**
 * Makes events of the rows of a backfill's source: one transaction a batch, in which the rows are locked where that can be, their events are appended with their own
 * dates, and the inline projections run; subscribers do not. A row that cannot be appended is in `failures`, and the others go on. A second run appends nothing,
 * and lists the rows that have changed.
 *
 * @example
 * ```ts
 * import { EventBackfill } from "effect-es-ops"
 *
 * export const backfill = EventBackfill.run({ backfill: "legacy-orders", appliedBy: "cli" })
 * ```
 */
export const run = (
  options: BackfillOptions
): Effect.Effect<
  RunResult<BackfillReport>,
  UnknownBackfill | RunError<WorkError>,
  Requirements | RunLog | OperationConfig
> =>
  Effect.gen(function* () {
    const backfill = yield* named(options.backfill)
    const { projections } = yield* Features
    const append = yield* BackfillAppend.make(projections)
    return yield* OperationRun.run<BackfillReport, WorkError, BackfillStore>({
      operationType: "event-backfill",
      name: backfill.name,
      params: {},
      definition: createHash("sha256").update(`${backfill.aggregateType}\n${backfill.code}`).digest("hex"),
      access: { reads: [], changes: [backfill.aggregateType] },
      restart: options.restart,
      appliedBy: options.appliedBy,
      observer: options.observer,
      marker: `backfill of ${backfill.name}`,
      work: (handle) => backfillAll(backfill, append, handle),
      drop: () => Effect.void
    })
  })

const named = (name: string): Effect.Effect<Backfill<unknown, never>, UnknownBackfill, Features> =>
  Effect.flatMap(Features, ({ backfills }): Effect.Effect<Backfill<unknown, never>, UnknownBackfill> => {
    const found = backfills.find((backfill) => backfill.name === name)
    return found === undefined
      ? new UnknownBackfill({ name, known: backfills.map((known) => known.name) })
      : Effect.succeed(found)
  })

/** How many rows of a source are read at a time where nothing measures that. */
const pageSize = 500

/** All rows, unlocked. */
const pages = (
  store: BackfillStore["Type"],
  { name, source }: Backfill<unknown, never>
): Stream.Stream<ReadonlyArray<SourceRow>, SourceFailed | DatabaseError> =>
  source._tag === "Rows"
    ? groups(name, source, Option.none())
    : Stream.unfoldEffect(Option.some(Option.none<string>()), (at) =>
        Option.match(at, {
          onNone: () => Effect.succeedNone,
          onSome: (after) =>
            Effect.map(store.read(source, { after, limit: pageSize, lock: false }), (rows) =>
              Option.some([rows, rows.length < pageSize ? Option.none() : Option.some(lastKey(rows))] as const)
            )
        })
      )

const groups = (
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

const lastKey = (rows: ReadonlyArray<SourceRow>): Option.Option<string> =>
  Option.map(Option.fromNullable(rows.at(-1)), ({ key }) => key)

/** What is to be done with rows. */
const decide = (
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

const backfillAll = (
  backfill: Backfill<unknown, never>,
  append: BackfillAppend.BackfillAppend,
  handle: RunHandle
): Effect.Effect<BackfillReport, WorkError, BackfillStore> =>
  Effect.gen(function* () {
    const store = yield* BackfillStore
    const progress = new Progress(backfill.name, handle.cursor)
    const work = (rows: ReadonlyArray<SourceRow>): Effect.Effect<Batch<boolean>, DatabaseError, BackfillStore> =>
      Effect.map(Effect.flatMap(decide(backfill, rows), append), (verdicts) => {
        const counters = progress.addAll(verdicts, lastKey(rows))
        return { value: rows.length > 0, phase: "appending", cursor: progress.cursor(), done: rows.length, counters }
      })
    yield* backfill.source._tag === "Sql"
      ? fromSql(store, backfill.source, progress, handle, work)
      : Stream.runForEach(groups(backfill.name, backfill.source, progress.after), (rows) => handle.batch(work(rows)))
    return progress.report((yield* handle.current).counters)
  })

/** The report of a run in another process. */
export const reportOf = ({ counters, cursor, name }: Pick<Run, "counters" | "cursor" | "name">): BackfillReport =>
  new Progress(name, cursor).report(counters)

const fromSql = (
  store: BackfillStore["Type"],
  source: SqlSource,
  progress: Progress,
  handle: RunHandle,
  work: (rows: ReadonlyArray<SourceRow>) => Effect.Effect<Batch<boolean>, DatabaseError, BackfillStore>
) =>
  Effect.gen(function* () {
    const lock = yield* store.canLock(source)
    const size = yield* BatchSize.make({ initial: 500, max: 5000 })
    for (let isMore = true; isMore;) {
      const limit = yield* size.get
      const page = Effect.suspend(() => store.read(source, { after: progress.after, limit, lock }))
      isMore = yield* handle.batch(Effect.flatMap(page, work), { size })
    }
  })

/** How many rows are listed. */
const listed = 20

const Cursor = Schema.Struct({
  after: Schema.String,
  changedKeys: Schema.Array(Schema.String),
  failures: Schema.Array(
    Schema.Struct({ key: Schema.String, error: Schema.Struct({ _tag: Schema.String, message: Schema.String }) })
  )
})

type Counts = Readonly<Record<string, number>>

/** How far a backfill came. */
class Progress {
  after: Option.Option<string> = Option.none()
  private changedKeys: ReadonlyArray<string> = []
  private failures: ReadonlyArray<FailedRow> = []
  private counts: Counts = {}

  constructor(
    private readonly name: string,
    cursor: Option.Option<unknown> | undefined
  ) {
    const stored = Option.flatMap(cursor ?? Option.none(), Schema.decodeUnknownOption(Cursor))
    if (Option.isNone(stored)) return
    this.after = Option.some(stored.value.after)
    this.changedKeys = stored.value.changedKeys
    this.failures = stored.value.failures
  }

  /** Notes what became of rows, up to a key; answers with what that adds to the counters. */
  addAll(verdicts: ReadonlyArray<Verdict>, last: Option.Option<string>): Counts {
    const before = this.counts
    this.counts = {}
    for (const verdict of verdicts) this.add(verdict)
    const added = this.counts
    this.counts = merged(before, added)
    this.after = Option.orElse(last, () => this.after)
    return added
  }

  add(verdict: Verdict): void {
    switch (verdict._tag) {
      case "Append":
        this.counts = merged(this.counts, { rows: 1, appended: 1, events: verdict.events.length })
        return
      case "Done":
        this.counts = merged(this.counts, { rows: 1, already: 1 })
        return
      case "Changed":
        this.counts = merged(this.counts, { rows: 1, changed: 1 })
        this.changedKeys = [...this.changedKeys, verdict.key].slice(0, listed)
        return
      case "Failed": {
        const { _tag, message } = verdict.error
        this.counts = merged(this.counts, { rows: 1, failed: 1 })
        this.failures = [...this.failures, { key: verdict.key, error: { _tag, message } }].slice(0, listed)
      }
    }
  }

  cursor(): unknown {
    const { changedKeys, failures } = this
    return Option.getOrUndefined(Option.map(this.after, (after) => ({ after, changedKeys, failures })))
  }

  report(counts: Counts = this.counts): BackfillReport {
    const count = (name: string) => counts[name] ?? 0
    return {
      backfill: this.name,
      rows: count("rows"),
      appended: count("appended"),
      events: count("events"),
      done: count("already"),
      changed: count("changed"),
      changedKeys: this.changedKeys,
      failed: count("failed"),
      failures: this.failures
    }
  }
}

const merged = (a: Counts, b: Counts): Counts => {
  const sum: Record<string, number> = { ...a }
  for (const [name, count] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + count
  return sum
}
