/**
 * Rebuilds snapshots: every stream of an aggregate type is folded again from its first event, and what is stored is made the same.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import type { AnyAggregate } from "../event/Aggregate.js"
import { EventFeed } from "../event/EventFeed.js"
import { Features } from "../event/Features.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { AppliedBy } from "../operation/Operation.js"
import type { DatabaseError } from "../operation/OperationError.js"
import * as BatchSize from "../operation/BatchSize.js"
import type { RunError, RunHandle, RunResult } from "../operation/OperationRun.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { RunCounters } from "../operation/Run.js"
import type { RunLog, RunRefused } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import type { FailedStream, Page } from "./SnapshotFold.js"
import * as SnapshotFold from "./SnapshotFold.js"
import type { SnapshotFinding, SnapshotReport } from "./SnapshotReport.js"
import * as Report from "./SnapshotReport.js"
import type { Folded, FoldedKind, SnapshotType } from "./SnapshotRows.js"
import { SnapshotRows } from "./SnapshotRows.js"

/** No feature has an aggregate of this type. */
export class UnknownAggregate extends Schema.TaggedError<UnknownAggregate>()("UnknownAggregate", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const known = this.known.length === 0 ? "no feature has one" : `there are: ${this.known.join(", ")}`
    return `no aggregate of type "${this.name}" is known; ${known}`
  }
}

/** What is rebuilt, and for whom. */
export interface RebuildOptions {
  /** The aggregate type. */
  readonly aggregate: string
  readonly appliedBy: AppliedBy
  /** Whether an unfinished rebuild is begun anew. Default: it goes on where it stood. */
  readonly restart?: boolean | undefined
  readonly observer?: RunObserver | undefined
}

/** What rebuilding and verifying require. */
export type Requirements = Features | EventFeed | SnapshotRows

/**
 * Rebuilds the snapshots of an aggregate type, while the application runs: each stream is folded from its first event, and the result is stored where
 * it is missing or different. Snapshots of older versions, beyond the end of their stream and of no stream are deleted. A newer snapshot of a live
 * writer's stays. None where another process did the same while this one waited.
 *
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { SnapshotRebuild } from "effect-es-ops"
 *
 * export const rebuild = SnapshotRebuild.run({ aggregate: "invoice", appliedBy: "cli" }).pipe(
 *   Effect.map(({ value }) => Option.map(value, ({ streams }) => `${streams} streams were folded`))
 * )
 * ```
 */
export const run = (
  options: RebuildOptions
): Effect.Effect<
  RunResult<SnapshotReport>,
  UnknownAggregate | RunError<DatabaseError>,
  Requirements | RunLog | OperationConfig
> =>
  Effect.gen(function* () {
    const aggregate = yield* named(options.aggregate)
    return yield* OperationRun.run<SnapshotReport, DatabaseError | RunRefused, EventFeed | SnapshotRows>({
      operationType: "aggregate-rebuild",
      name: aggregate.type,
      params: {},
      definition: createHash("sha256").update(`${aggregate.snapshotVersion}\n${aggregate.source}`).digest("hex"),
      access: { reads: [aggregate.type], changes: [] },
      tables: ["es_ops_snapshots"],
      restart: options.restart,
      appliedBy: options.appliedBy,
      observer: options.observer,
      work: (handle) => rebuildAll(aggregate, handle),
      drop: () => Effect.void
    })
  })

/**
 * Compares the snapshots of an aggregate type with what its streams give, and writes nothing: what a rebuild would store and delete, and the first of
 * what was found.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SnapshotRebuild, SnapshotReport } from "effect-es-ops"
 *
 * export const areRight = Effect.map(SnapshotRebuild.verify("invoice"), SnapshotReport.isClean)
 * ```
 */
export const verify = (
  aggregateType: string
): Effect.Effect<SnapshotReport, UnknownAggregate | DatabaseError, Requirements> =>
  Effect.gen(function* () {
    const aggregate = yield* named(aggregateType)
    const type = typeOf(aggregate)
    const rows = yield* SnapshotRows
    const fold = SnapshotFold.make(aggregate, Option.none())
    const found = new Found(type)
    for (let isLast = false; !isLast;) {
      const page = yield* fold.next(pageSize)
      found.add(page, Arr.isNonEmptyReadonlyArray(page.folded) ? yield* rows.compare(type, page.folded) : [])
      isLast = page.isLast
    }
    const strays = yield* rows.strays(type, Report.listed)
    return Report.make(
      type,
      { ...found.counters, ...strays.counts },
      { failures: found.failures, findings: [...found.findings, ...strays.first] }
    )
  }).pipe(Effect.withSpan("SnapshotRebuild.verify", { attributes: { aggregateType }, captureStackTrace: false }))

const pageSize = 5000

const strayBatch = 5000

const named = (name: string): Effect.Effect<AnyAggregate, UnknownAggregate, Features> =>
  Effect.flatMap(Features, ({ aggregates }): Effect.Effect<AnyAggregate, UnknownAggregate> => {
    const found = aggregates.find(({ type }) => type === name)
    return found === undefined
      ? new UnknownAggregate({ name, known: aggregates.map(({ type }) => type) })
      : Effect.succeed(found)
  })

const typeOf = ({ snapshotVersion, type }: AnyAggregate): SnapshotType => ({ aggregateType: type, snapshotVersion })

const Cursor = Schema.Struct({
  aggregateId: Schema.String,
  tenantId: Schema.String,
  version: Schema.Number
})

const clearing = "clearing"

const rebuildAll = (
  aggregate: AnyAggregate,
  handle: RunHandle
): Effect.Effect<SnapshotReport, DatabaseError | RunRefused, EventFeed | SnapshotRows> =>
  Effect.gen(function* () {
    const found = new Found(typeOf(aggregate))
    if (handle.phase !== clearing) yield* foldAll(aggregate, handle, found)
    yield* removeAll(handle, found)
    const { counters } = yield* handle.current
    return Report.make(found.type, counters, found)
  })

const foldAll = (aggregate: AnyAggregate, handle: RunHandle, found: Found) =>
  Effect.gen(function* () {
    const rows = yield* SnapshotRows
    const feed = yield* EventFeed
    const total = yield* feed.count({ aggregateTypes: [aggregate.type] })
    const size = yield* BatchSize.make({ initial: 2000, max: 20_000, min: 100 })
    const after = Option.flatMap(handle.cursor, Schema.decodeUnknownOption(Cursor))
    const fold = SnapshotFold.make(aggregate, after)
    for (let isLast = false; !isLast;) {
      const limit = yield* size.get
      isLast = yield* handle.batch(
        Effect.gen(function* () {
          const page = yield* fold.next(limit)
          const mended = Arr.isNonEmptyReadonlyArray(page.folded) ? yield* rows.mend(found.type, page.folded) : []
          return {
            value: page.isLast,
            phase: page.isLast ? clearing : "folding",
            cursor: Option.getOrUndefined(page.after),
            done: page.read,
            total,
            counters: found.add(page, mended)
          }
        }),
        { size }
      )
    }
  })

const removeAll = (handle: RunHandle, found: Found) =>
  Effect.gen(function* () {
    const rows = yield* SnapshotRows
    for (let isLast = false; !isLast;) {
      isLast = yield* handle.batch(
        Effect.map(rows.removeStrays(found.type, strayBatch), (strays) => {
          found.note(strays)
          const counters = Report.tally(strays.map(({ kind }) => kind))
          return { value: strays.length < strayBatch, phase: clearing, counters }
        })
      )
    }
  })

/** What a pass has found so far. */
class Found {
  readonly failures: Array<FailedStream> = []
  readonly findings: Array<SnapshotFinding> = []
  counters: RunCounters = {}

  constructor(readonly type: SnapshotType) {}

  /** Notes a page; answers with what it adds to the counters. */
  add(page: Page, differing: ReadonlyArray<readonly [Folded, FoldedKind]>): RunCounters {
    const added: RunCounters = {
      streams: page.streams,
      events: page.events,
      failed: page.failed.length,
      ...Report.tally(differing.map(([, kind]) => kind))
    }
    const { snapshotVersion } = this.type
    this.failures.push(...page.failed.slice(0, Report.listed - this.failures.length))
    this.note(
      differing
        .filter(([, kind]) => kind !== "behind")
        .map(([{ aggregateId, tenantId, version }, kind]) => ({
          kind,
          aggregateId,
          tenantId,
          snapshotVersion,
          version
        }))
    )
    for (const [name, count] of Object.entries(added)) {
      this.counters = { ...this.counters, [name]: (this.counters[name] ?? 0) + count }
    }
    return added
  }

  /** Lists what was found, as long as there are few of its kind. */
  note(found: ReadonlyArray<SnapshotFinding>): void {
    for (const { aggregateId, kind, snapshotVersion, tenantId, version } of found) {
      if (this.findings.filter((other) => other.kind === kind).length >= Report.listed) continue
      this.findings.push({ kind, aggregateId, tenantId, snapshotVersion, version })
    }
  }
}
