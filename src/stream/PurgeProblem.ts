/**
 * What keeps streams from being purged.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Schema from "effect/Schema"

/** A consumer of events has not had all events of the streams yet. */
export class ConsumerBehind extends Schema.TaggedError<ConsumerBehind>()("ConsumerBehind", {
  consumer: Schema.String,
  /** Of which process of it, where it has several. */
  instance: Schema.NullOr(Schema.String),
  /** The id of the last event that it has had. */
  processed: Schema.String,
  /** The greatest id of an event that is to be deleted. */
  newest: Schema.String
}) {
  override get message(): string {
    const instance = this.instance === null || this.instance === "" ? "" : ` (${this.instance})`
    return `consumer "${this.consumer}"${instance} has had the events up to id ${this.processed}, and those of the streams go up to ${this.newest}: let it go on, or disable it`
  }
}

/** A projection keeps the rows of archived streams, and could not compute them again. */
export class ProjectionLoss extends Schema.TaggedError<ProjectionLoss>()("ProjectionLoss", {
  projection: Schema.String,
  /** The types of its events that the streams have. */
  types: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `projection "${this.projection}" keeps the rows of archived streams, and the streams have events of it (${this.types.join(", ")}): a rebuild could not compute these rows again. With --accept-projection-loss (acceptProjectionLoss: true) the streams are purged all the same`
  }
}

/** The file of the export is there already. It is left as it is. */
export class ExportExists extends Schema.TaggedError<ExportExists>()("ExportExists", { file: Schema.String }) {
  override get message(): string {
    return `${this.file} is there already, and an export is never written over: name another file`
  }
}

/** The export cannot be written. What was not written was not deleted. */
export class ExportFailed extends Schema.TaggedError<ExportFailed>()("ExportFailed", {
  file: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.file} cannot be written, so nothing more was deleted: ${this.reason}`
  }
}

/** The file that an unfinished purge was writing is gone, or has lost some of its lines: their events are deleted already. */
export class ExportLost extends Schema.TaggedError<ExportLost>()("ExportLost", {
  file: Schema.String,
  /** How many bytes were written and synced. */
  written: Schema.Number,
  /** How many it has; null if it is not there. */
  found: Schema.NullOr(Schema.Number)
}) {
  override get message(): string {
    const state = this.found === null ? "is not there" : `has ${this.found} bytes`
    return `${this.file} ${state}, and ${this.written} bytes of deleted events were written to it: put it back and run the same command, or cancel the run and begin another with a new file`
  }
}

/** Another number of streams would be purged than was expected. */
export class UnexpectedStreams extends Schema.TaggedError<UnexpectedStreams>()("UnexpectedStreams", {
  expected: Schema.Number,
  found: Schema.Number
}) {
  override get message(): string {
    return `${this.found} streams would be purged, and ${this.expected} were expected`
  }
}

/** The role may not do what a purge does. */
export class RightMissing extends Schema.TaggedError<RightMissing>()("RightMissing", {
  table: Schema.String,
  right: Schema.String
}) {
  override get message(): string {
    return `this role lacks ${this.right} on ${this.table}, which purging needs`
  }
}

/** A stream has events of an aggregate type that was not named. */
export class TypeNotNamed extends Schema.TaggedError<TypeNotNamed>()("TypeNotNamed", {
  tenantId: Schema.String,
  aggregateId: Schema.String,
  types: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `stream ${this.aggregateId} of tenant ${this.tenantId} has events of another aggregate type than was named: ${this.types.join(", ")}`
  }
}

/** Why a purge is not begun. */
export const PurgeProblem = Schema.Union(
  ConsumerBehind,
  ProjectionLoss,
  ExportExists,
  ExportFailed,
  ExportLost,
  UnexpectedStreams,
  RightMissing
)
export type PurgeProblem = typeof PurgeProblem.Type

/** Nothing was begun, for all of these reasons. */
export class PurgeRefused extends Schema.TaggedError<PurgeRefused>()("PurgeRefused", {
  problems: Schema.NonEmptyArray(PurgeProblem)
}) {
  override get message(): string {
    return this.problems.map(({ message }) => message).join("\n")
  }
}

/**
 * What these problems fail a purge with. An export that a run under way has lost is a failure of that run: nothing is refused that was not begun.
 */
export const failureOf = (problems: NonEmptyReadonlyArray<PurgeProblem>): PurgeRefused | ExportLost => {
  const [first, ...others] = problems
  return first._tag === "ExportLost" && others.length === 0 ? first : new PurgeRefused({ problems })
}
