/**
 * The public errors as JSON: what a worker, a queue or a log gives back says the same as what was thrown.
 */
import { assert, describe, it } from "@effect/vitest"
import { Option, Predicate, Schema } from "effect"
import * as Library from "effect-es-ops"
import {
  DatabaseHealth,
  EsOps,
  EventStore,
  EventType,
  OperationConfig,
  OperationError,
  PromiseSeed,
  QueryError,
  ReadTables,
  Run,
  SeedFile,
  SeedProblem,
  SeedReport,
  SeedsApplied,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"

const holder = Option.some(
  new OperationError.LockHolder({ pid: 42, applicationName: "es-ops", since: Option.some("2026-11-24T10:15:07Z") })
)

const refused = new WriteDispatcher.WriteRejected({ handler: "a:write:b", code: "conflict", reason: "taken" })

const run = { applied: ["1"], skipped: [], raced: [], notAttempted: ["3"] }

const aRun = { id: "1", operationType: "projection-rebuild", name: "orders", host: "h", pid: 1 }

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
