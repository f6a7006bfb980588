/**
 * What came of applying seeds: an outcome for each, in order, and what was not attempted.
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Event } from "../event/Event.js"
import { AttemptError } from "../operation/Attempt.js"
import { describe } from "../operation/ErrorDescription.js"
import * as ServerLimit from "../operation/ServerLimit.js"
import { afterInterruption } from "./HalfDoneSeed.js"

/** The outcome of one seed. */
export type SeedOutcome = Data.TaggedEnum<{
  /** Applied by this run; `durationMs` is the body's. */
  Applied: {
    readonly id: string
    readonly durationMs: number
    readonly events: number
    readonly preview: Option.Option<ReadonlyArray<Event>>
    /** Whether its events committed with its marker: not so with a dispatcher on another connection, where the settings allow that. */
    readonly atomic: boolean
  }
  /** Skipped by its flag. */
  Skipped: { readonly id: string; readonly flag: string }
  /** Applied by another replica while this one waited. */
  Raced: { readonly id: string }
}>
export const SeedOutcome = Data.taggedEnum<SeedOutcome>()

/** What a run did, when nothing failed. */
export interface SeedReport {
  readonly outcomes: ReadonlyArray<SeedOutcome>
  readonly notAttempted: ReadonlyArray<string>
  /** The flag that skipped everything, if one did. */
  readonly skippedAll: Option.Option<string>
  readonly dryRun: boolean
}

/** What was done before a run ended early. */
const progress = {
  applied: Schema.Array(Schema.String),
  skipped: Schema.Array(Schema.String),
  raced: Schema.Array(Schema.String),
  notAttempted: Schema.Array(Schema.String)
}

/** A seed failed: nothing of it remains but its attempt, what was applied before stays, what follows was not attempted. */
export class SeedFailed extends Schema.TaggedError<SeedFailed>()("SeedFailed", {
  id: Schema.String,
  /** What the seed threw or failed with. */
  cause: Schema.Defect,
  ...progress
}) {
  override get message(): string {
    const { code, message } = describe(this.cause)
    // The root cause's own words come last.
    const remedy = Option.filter(ServerLimit.remedyOf(code), (text) => !message.includes(text))
    return `seed "${this.id}" failed${Option.match(remedy, { onNone: () => "", onSome: (text) => ` (${text})` })}: ${message}`
  }
}

/** Another replica ran this seed while this one waited, and it failed there; it was not run again. */
export class SeedFailedElsewhere extends Schema.TaggedError<SeedFailedElsewhere>()("SeedFailedElsewhere", {
  id: Schema.String,
  host: Schema.String,
  pid: Schema.Number,
  /** When the attempt ended, ISO 8601. */
  at: Schema.String,
  error: Schema.NullOr(AttemptError)
}) {
  override get message(): string {
    return `seed "${this.id}" failed on ${this.host} (process ${this.pid}) at ${this.at}, and was not run again here: ${this.error?.message ?? "no error was recorded"}`
  }
}

/** A seed outside any transaction was interrupted half-way, and is not run again by itself. */
export class SeedInterrupted extends Schema.TaggedError<SeedInterrupted>()("SeedInterrupted", {
  id: Schema.String,
  host: Schema.String,
  pid: Schema.Number,
  /** When the attempt began, ISO 8601. */
  at: Schema.String
}) {
  override get message(): string {
    return `seed "${this.id}" began on ${this.host} (process ${this.pid}) at ${this.at} and did not end: nothing of it was undone. Look at what it left behind; then ${afterInterruption(this.id)}`
  }
}

/** There is no marker of a seed of this id. */
export class NotApplied extends Schema.TaggedError<NotApplied>()("NotApplied", { id: Schema.String }) {
  override get message(): string {
    return `"${this.id}" is not applied: no seed of this id has a marker`
  }
}

/** A marker was not renamed: it is not that of a seed whose file was. */
export class RenameRefused extends Schema.TaggedError<RenameRefused>()("RenameRefused", {
  from: Schema.String,
  to: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `"${this.from}" was not renamed to "${this.to}": ${this.reason}`
  }
}

/** There is no seed of this id. */
export class UnknownSeed extends Schema.TaggedError<UnknownSeed>()("UnknownSeed", {
  id: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const known = this.known.length === 0 ? "there are none" : `there are: ${this.known.join(", ")}`
    return `no seed has the id "${this.id}"; ${known}`
  }
}
