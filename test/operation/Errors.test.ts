/**
 * The public errors as JSON: what a worker, a queue or a log gives back says the same as what was thrown.
 */
import { assert, describe, it } from "@effect/vitest"
import { Option, Predicate, Schema } from "effect"
import * as Library from "effect-es-ops"
import {
  Aggregate,
  Backfill,
  DatabaseHealth,
  EsOps,
  EventBackfill,
  EventFeed,
  EventStore,
  EventType,
  MoveProblem,
  OperationConfig,
  OperationError,
  ProjectionsCurrent,
  PromiseSeed,
  PurgeProblem,
  QueryError,
  ReadTables,
  RebuildProblem,
  ReplayError,
  Run,
  RunLanes,
  SeedFile,
  SeedProblem,
  SeedReport,
  SeedsApplied,
  SnapshotRebuild,
  SnapshotReport,
  StreamMoves,
  StreamProblem,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"

const holder = Option.some(
  new OperationError.LockHolder({ pid: 42, applicationName: "es-ops", since: Option.some("2026-11-24T10:15:07Z") })
)

const refused = new WriteDispatcher.WriteRejected({ handler: "a:write:b", code: "conflict", reason: "taken" })

const run = { applied: ["1"], skipped: [], raced: [], notAttempted: ["3"] }

const aRun = { id: "1", operationType: "projection-rebuild", name: "orders", host: "h", pid: 1 }

const aMove = { aggregateId: "a", from: "t", to: "u" }

const behind = new PurgeProblem.ConsumerBehind({ consumer: "c", instance: null, processed: "1", newest: "2" })

/** A class of errors with one of them. */
const pair = <A extends Error, I>(schema: Schema.Schema<A, I>, error: A) => ({
  isOf: (value: unknown) => value === schema,
  error,
  is: Schema.is(schema),
  again: () => Schema.decodeUnknownSync(schema)(JSON.parse(JSON.stringify(Schema.encodeSync(schema)(error))))
})

const all = [
  pair(OperationConfig.SettingError, new OperationConfig.SettingError({ key: "late", reason: "it is neither" })),
  pair(OperationError.LockHeld, new OperationError.LockHeld({ id: "1", holder })),
  pair(OperationError.AlreadyApplied, new OperationError.AlreadyApplied({ id: "1" })),
  pair(OperationError.LockTimeout, new OperationError.LockTimeout({ id: "1", holder: Option.none(), waitedMs: 5 })),
  pair(
    OperationError.DatabaseError,
    new OperationError.DatabaseError({
      action: "reading the markers",
      id: Option.some("1"),
      code: Option.some("42501"),
      reason: "permission denied",
      connectionLost: false,
      cause: new Error("permission denied for table")
    })
  ),
  pair(OperationError.CommitLost, new OperationError.CommitLost({ reason: "ECONNRESET", cause: new Error("reset") })),
  pair(OperationError.CommitUnknown, new OperationError.CommitUnknown({ id: "1", reason: "ECONNREFUSED" })),
  pair(OperationError.TransactionControl, new OperationError.TransactionControl({ statement: "COMMIT" })),
  pair(OperationError.LockControl, new OperationError.LockControl({ statement: "DISCARD ALL" })),
  pair(OperationError.EncodingChanged, new OperationError.EncodingChanged({ encoding: "LATIN1" })),
  pair(OperationError.TransactionLeftOpen, new OperationError.TransactionLeftOpen()),
  pair(
    OperationError.SwallowedSqlError,
    new OperationError.SwallowedSqlError({ code: Option.some("23505"), reason: "duplicate key" })
  ),
  pair(OperationError.CommitRefused, new OperationError.CommitRefused({ code: Option.none(), reason: "deferred" })),
  pair(
    QueryError.ReadOnlyViolation,
    new QueryError.ReadOnlyViolation({ code: Option.some("25006"), reason: "DELETE" })
  ),
  pair(QueryError.QueryFailed, new QueryError.QueryFailed({ code: Option.none(), reason: "no such table" })),
  pair(QueryError.QueryUnavailable, new QueryError.QueryUnavailable()),
  pair(Run.RunInProgress, new Run.RunInProgress({ ...aRun, reason: "it has other parameters" })),
  pair(Run.RunLost, new Run.RunLost({ id: "1" })),
  pair(Run.RunCancelled, new Run.RunCancelled({ id: "1" })),
  pair(Run.RunFailedElsewhere, new Run.RunFailedElsewhere({ ...aRun, error: null })),
  pair(DatabaseHealth.TableMismatch, new DatabaseHealth.TableMismatch({ table: '"a"', reason: "it has no id" })),
  pair(
    EventStore.VersionConflict,
    new EventStore.VersionConflict({ tenantId: "t", aggregateId: "a", expected: 1, actual: Option.some(2) })
  ),
  pair(EventStore.StreamArchived, new EventStore.StreamArchived({ tenantId: "t", aggregateId: "a" })),
  pair(EventStore.IdempotencyConflict, new EventStore.IdempotencyConflict({ tenantId: "t", idempotencyKey: "k" })),
  pair(WriteHandler.Rejection, WriteHandler.reject("conflict", "taken")),
  pair(WriteDispatcher.WriteRejected, refused),
  pair(WriteDispatcher.WriteFailed, new WriteDispatcher.WriteFailed({ handler: "a:write:b", cause: new Error("no") })),
  pair(
    EventType.EventUnreadable,
    new EventType.EventUnreadable({ eventId: 9007199254740993n, type: "t", eventVersion: 2, reason: "no" })
  ),
  pair(
    ReadTables.UniqueTaken,
    new ReadTables.UniqueTaken({ table: "read_users", columns: ["email"], values: ["a@example.com"] })
  ),
  pair(
    Aggregate.StateInvalid,
    new Aggregate.StateInvalid({ aggregateType: "order", eventId: Option.some(7n), reason: "no" })
  ),
  pair(Backfill.RowInvalid, new Backfill.RowInvalid({ reason: "it has no date" })),
  pair(
    EventBackfill.SourceFailed,
    new EventBackfill.SourceFailed({ backfill: "b", reason: "no", cause: new Error("no") })
  ),
  pair(EventBackfill.UnknownBackfill, new EventBackfill.UnknownBackfill({ name: "b", known: ["c"] })),
  pair(EventFeed.EventsUnordered, new EventFeed.EventsUnordered({ reason: "CACHE 2" })),
  pair(EventFeed.SettleTimeout, new EventFeed.SettleTimeout({ holders: ["process 7"] })),
  pair(EventStore.StreamPurged, new EventStore.StreamPurged({ tenantId: "t", aggregateId: "a" })),
  pair(MoveProblem.ArchivedApart, new MoveProblem.ArchivedApart({ ...aMove, archived: "t" })),
  pair(MoveProblem.KeysTaken, new MoveProblem.KeysTaken({ ...aMove, keys: ["k"] })),
  pair(MoveProblem.MovedTwice, new MoveProblem.MovedTwice(aMove)),
  pair(MoveProblem.MovesRefused, new MoveProblem.MovesRefused({ problems: [new MoveProblem.MovedTwice(aMove)] })),
  pair(MoveProblem.MovesUnsettled, new MoveProblem.MovesUnsettled({ holders: ["process 7"] })),
  pair(
    MoveProblem.OtherAggregateType,
    new MoveProblem.OtherAggregateType({ ...aMove, sourceType: "a", targetType: "b" })
  ),
  pair(MoveProblem.SameTenant, new MoveProblem.SameTenant(aMove)),
  pair(MoveProblem.SplitStream, new MoveProblem.SplitStream({ ...aMove, sourceEvents: 1, targetEvents: 2 })),
  pair(ProjectionsCurrent.ProjectionsOutdated, new ProjectionsCurrent.ProjectionsOutdated({ names: ["orders"] })),
  pair(
    RebuildProblem.ApplyFailed,
    new RebuildProblem.ApplyFailed({ projection: "p", eventId: 7n, reason: "no", cause: new Error("no") })
  ),
  pair(
    RebuildProblem.CutOverTimeout,
    new RebuildProblem.CutOverTimeout({ table: "t", tries: 2, waitedMs: 30, holders: ["process 7"] })
  ),
  pair(RebuildProblem.GhostRows, new RebuildProblem.GhostRows({ projection: "p", table: "t", count: 1, keys: ["1"] })),
  pair(RebuildProblem.NotRebuildable, new RebuildProblem.NotRebuildable({ projection: "p", reasons: ["no tables"] })),
  pair(
    RebuildProblem.RebuildRefused,
    new RebuildProblem.RebuildRefused({
      problems: [new RebuildProblem.NotRebuildable({ projection: "p", reasons: ["no tables"] })]
    })
  ),
  pair(RebuildProblem.RebuildUnsettled, new RebuildProblem.RebuildUnsettled({ projection: "p", reason: "no" })),
  pair(RebuildProblem.SharedKey, new RebuildProblem.SharedKey({ projection: "p", count: 1, aggregateIds: ["a"] })),
  pair(
    RebuildProblem.StreamIncomplete,
    new RebuildProblem.StreamIncomplete({ projection: "p", count: 1, streams: ["a"] })
  ),
  pair(
    RebuildProblem.UnexpectedGhosts,
    new RebuildProblem.UnexpectedGhosts({ projection: "p", expected: 1, found: 2 })
  ),
  pair(RebuildProblem.UnknownProjection, new RebuildProblem.UnknownProjection({ name: "p", known: ["q"] })),
  pair(RebuildProblem.WroteOutsideShadow, new RebuildProblem.WroteOutsideShadow({ projection: "p", table: "t" })),
  pair(
    ReplayError.DeliveryFailed,
    new ReplayError.DeliveryFailed({
      subscriber: "s",
      eventId: 7n,
      tenantId: "t",
      aggregateId: "a",
      fromId: 7n,
      reason: "no",
      cause: new Error("no")
    })
  ),
  pair(ReplayError.ReplayBoundsInvalid, new ReplayError.ReplayBoundsInvalid({ reason: "no" })),
  pair(ReplayError.ReplayForbidden, new ReplayError.ReplayForbidden({ subscriber: "s" })),
  pair(ReplayError.ReplayWrites, new ReplayError.ReplayWrites({ what: "an append" })),
  pair(ReplayError.StreamStopped, new ReplayError.StreamStopped()),
  pair(ReplayError.UnknownSubscriber, new ReplayError.UnknownSubscriber({ name: "s", known: ["t"] })),
  pair(RunLanes.LaneFailed, new RunLanes.LaneFailed({ lane: "1", error: { _tag: "Error", message: "no" } })),
  pair(RunLanes.LaneUnknown, new RunLanes.LaneUnknown({ lane: "1" })),
  pair(SnapshotRebuild.UnknownAggregate, new SnapshotRebuild.UnknownAggregate({ name: "a", known: ["b"] })),
  pair(
    SnapshotReport.SnapshotDiffers,
    new SnapshotReport.SnapshotDiffers({
      aggregateType: "a",
      tenantId: "t",
      aggregateId: "a",
      snapshotVersion: 1,
      version: 2
    })
  ),
  pair(PurgeProblem.ConsumerBehind, behind),
  pair(PurgeProblem.ExportExists, new PurgeProblem.ExportExists({ file: "a.jsonl" })),
  pair(PurgeProblem.ExportFailed, new PurgeProblem.ExportFailed({ file: "a.jsonl", reason: "ENOSPC" })),
  pair(PurgeProblem.ExportLost, new PurgeProblem.ExportLost({ file: "a.jsonl", written: 2, found: null })),
  pair(PurgeProblem.ProjectionLoss, new PurgeProblem.ProjectionLoss({ projection: "p", types: ["t"] })),
  pair(PurgeProblem.PurgeRefused, new PurgeProblem.PurgeRefused({ problems: [behind] })),
  pair(PurgeProblem.RightMissing, new PurgeProblem.RightMissing({ table: "t", right: "DELETE" })),
  pair(
    PurgeProblem.TypeNotNamed,
    new PurgeProblem.TypeNotNamed({ tenantId: "t", aggregateId: "a", types: ["invoice"] })
  ),
  pair(PurgeProblem.UnexpectedStreams, new PurgeProblem.UnexpectedStreams({ expected: 1, found: 2 })),
  pair(StreamMoves.EventsBusy, new StreamMoves.EventsBusy()),
  pair(StreamProblem.InvalidStreamId, new StreamProblem.InvalidStreamId({ tenantId: "t", aggregateId: "a" })),
  pair(StreamProblem.StreamNotFound, new StreamProblem.StreamNotFound({ tenantId: "t", aggregateId: "a" })),
  pair(
    StreamProblem.StreamsRefused,
    new StreamProblem.StreamsRefused({
      problems: [new StreamProblem.StreamNotFound({ tenantId: "t", aggregateId: "a" })]
    })
  ),
  pair(PromiseSeed.EffectReturned, new PromiseSeed.EffectReturned()),
  pair(PromiseSeed.GeneratorReturned, new PromiseSeed.GeneratorReturned()),
  pair(PromiseSeed.NotAwaited, new PromiseSeed.NotAwaited({ handler: "a:write:b", reason: "it came too late" })),
  pair(SeedReport.SeedFailed, new SeedReport.SeedFailed({ id: "2", cause: refused, ...run })),
  pair(
    SeedReport.SeedFailedElsewhere,
    new SeedReport.SeedFailedElsewhere({ id: "2", host: "h", pid: 1, at: "2026-11-24T10:15:07Z", error: null })
  ),
  pair(
    SeedReport.SeedInterrupted,
    new SeedReport.SeedInterrupted({ id: "2", host: "h", pid: 1, at: "2026-11-24T10:15:07Z" })
  ),
  pair(SeedReport.NotApplied, new SeedReport.NotApplied({ id: "2" })),
  pair(SeedReport.RenameRefused, new SeedReport.RenameRefused({ from: "1", to: "2", reason: "both are applied" })),
  pair(SeedReport.UnknownSeed, new SeedReport.UnknownSeed({ id: "4", known: ["1", "2"] })),
  pair(
    SeedProblem.SeedsInconsistent,
    SeedProblem.SeedsInconsistent.of({ _tag: "LateSeed", id: "1", path: "1.ts", message: "1.ts is late" })
  ),
  pair(SeedFile.SeedNotCreated, new SeedFile.SeedNotCreated({ reason: "it is there already" })),
  pair(SeedsApplied.SeedsPending, new SeedsApplied.SeedsPending({ ids: ["3"] })),
  pair(EsOps.EmbeddedInUse, new EsOps.EmbeddedInUse({ folder: ".es-ops", file: "lock.json", host: "h", pid: 1 }))
]

/** Everything of an error but its stack, and its cause, of which JSON keeps name and message. */
const saidBy = (error: Error) => ({
  ...error,
  cause: Predicate.hasProperty(error, "cause") && error.cause instanceof Error ? error.cause.message : undefined,
  name: error.name,
  message: error.message
})

describe("a public error", () => {
  it.each(all.map((one) => [one.error.name, one] as const))("is the same after JSON: %s", (_, { again, error, is }) => {
    const read = again()
    assert.isTrue(is(read))
    assert.deepStrictEqual(saidBy(read), saidBy(error))
  })

  it("is among those that are tried here", () => {
    const exported = Object.values(Library)
      .flatMap((namespace) => Object.values<unknown>(namespace))
      .filter((value) => Predicate.isFunction(value) && value.prototype instanceof Error)
    assert.isAbove(exported.length, 30)
    assert.deepStrictEqual(
      exported.filter((value) => !all.some(({ isOf }) => isOf(value))),
      []
    )
  })
})
