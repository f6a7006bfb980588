/**
 * What keeps a rebuild from being begun, and what ends one that is under way.
 */
import * as Schema from "effect/Schema"

/** A projection cannot be rebuilt as it is, or not in the way that was asked for. */
export class NotRebuildable extends Schema.TaggedError<NotRebuildable>()("NotRebuildable", {
  projection: Schema.String,
  /** Each with what would mend it. */
  reasons: Schema.NonEmptyArray(Schema.String)
}) {
  override get message(): string {
    return `projection "${this.projection}" cannot be rebuilt: ${this.reasons.join("; ")}`
  }
}

/** Two tenants have events of one aggregate id, and the key of the rows does not know the tenant. */
export class SharedKey extends Schema.TaggedError<SharedKey>()("SharedKey", {
  projection: Schema.String,
  /** How many ids there are. */
  count: Schema.Number,
  /** The first of them. */
  aggregateIds: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `projection "${this.projection}" has one row for aggregates of several tenants, as ${some(this.count, "id")} ${is(this.count)} in more than one: ${list(this.count, this.aggregateIds)}. Give it a key that has the tenant in it`
  }
}

/** Streams whose versions are not 1, 2, 3, …: no fold of them can be trusted. */
export class StreamIncomplete extends Schema.TaggedError<StreamIncomplete>()("StreamIncomplete", {
  projection: Schema.String,
  count: Schema.Number,
  /** The first of them, as `tenant/aggregate`. */
  streams: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `projection "${this.projection}" cannot be rebuilt from streams with versions that are missing (${some(this.count, "stream")}: ${list(this.count, this.streams)}). With projection:rebuild --on-poison quarantine their rows stay as they are`
  }
}

/** Live rows that no event accounts for: to be kept or deleted on purpose. */
export class GhostRows extends Schema.TaggedError<GhostRows>()("GhostRows", {
  projection: Schema.String,
  table: Schema.String,
  count: Schema.Number,
  /** The keys of the first, each as JSON. */
  keys: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `${this.table} has ${some(this.count, "row")} without any event: ${list(this.count, this.keys)}. Give --ghosts keep, or --ghosts delete`
  }
}

/** There are not as many rows to delete as `expect` says. */
export class UnexpectedGhosts extends Schema.TaggedError<UnexpectedGhosts>()("UnexpectedGhosts", {
  projection: Schema.String,
  expected: Schema.Number,
  found: Schema.Number
}) {
  override get message(): string {
    return `projection "${this.projection}" has ${some(this.found, "row")} without any event, and ${this.expected} ${this.expected === 1 ? "was" : "were"} expected`
  }
}

/** There is no projection of this name. */
export class UnknownProjection extends Schema.TaggedError<UnknownProjection>()("UnknownProjection", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `there is no projection "${this.name}"; there are ${this.known.length === 0 ? "none" : this.known.join(", ")}`
  }
}

/** What a plan finds wrong, by projection. */
export const RebuildProblem = Schema.Union(NotRebuildable, SharedKey, StreamIncomplete, GhostRows, UnexpectedGhosts)
export type RebuildProblem = typeof RebuildProblem.Type

/** Nothing was begun: everything that is wrong, of all the projections. */
export class RebuildRefused extends Schema.TaggedError<RebuildRefused>()("RebuildRefused", {
  problems: Schema.NonEmptyArray(RebuildProblem)
}) {
  override get message(): string {
    return this.problems.map(({ _tag, message }) => `${_tag}: ${message}`).join("\n")
  }
}

/** A projection by `Projection.make` wrote to a table that it does not name: nothing of it was kept. */
export class WroteOutsideShadow extends Schema.TaggedError<WroteOutsideShadow>()("WroteOutsideShadow", {
  projection: Schema.String,
  table: Schema.String
}) {
  override get message(): string {
    return `projection "${this.projection}" wrote to ${this.table} in its rebuild, which is none of its tables; nothing of it was kept. Name it in its tables, or write to it elsewhere`
  }
}

/** The function of a projection by `Projection.make` failed. */
export class ApplyFailed extends Schema.TaggedError<ApplyFailed>()("ApplyFailed", {
  projection: Schema.String,
  eventId: Schema.BigInt,
  reason: Schema.String,
  cause: Schema.Defect
}) {
  override get message(): string {
    return `projection "${this.projection}" failed for event ${this.eventId}: ${this.reason}`
  }
}

/** The tables stayed locked by others for as long as the cut-over was tried. The run is paused; the same command tries it again. */
export class CutOverTimeout extends Schema.TaggedError<CutOverTimeout>()("CutOverTimeout", {
  table: Schema.String,
  tries: Schema.Number,
  waitedMs: Schema.Number,
  /** Who was in the way at the last try. */
  holders: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const who = this.holders.length === 0 ? "sessions that could not be identified" : this.holders.join("; ")
    return `the cut-over of ${this.table} did not get its lock in ${this.tries} tries, within ${this.waitedMs} ms: in the way ${this.holders.length === 1 ? "is" : "are"} ${who}. Nothing is lost; the same command tries again`
  }
}

/** What the rebuild was built for changed under way each time that it began anew: tables, or archived streams. */
export class RebuildUnsettled extends Schema.TaggedError<RebuildUnsettled>()("RebuildUnsettled", {
  projection: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `the rebuild of "${this.projection}" began anew three times, and each time ${this.reason}`
  }
}

const some = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`

const is = (count: number): string => (count === 1 ? "is" : "are")

const list = (count: number, first: ReadonlyArray<string>): string =>
  `${first.join(", ")}${count > first.length ? ", …" : ""}`
