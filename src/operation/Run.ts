/**
 * A run is one pass of a long operation, in many short transactions: what it is of, how far it is, which process has it, and how it ended.
 */
import * as Equal from "effect/Equal"
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { AttemptError } from "./Attempt.js"
import type { RecordedTime } from "./RecordedTime.js"

/** How a run stands: `running` and `paused` are unfinished, the others are ends. */
export const RunOutcome = Schema.Literal("running", "paused", "applied", "failed", "cancelled")
export type RunOutcome = typeof RunOutcome.Type

/**
 * The aggregate types whose events a run reads, and those of whose streams it changes; `*` is every type. What one run changes no other one reads
 * meanwhile.
 */
export const RunAccess = Schema.Struct({ reads: Schema.Array(Schema.String), changes: Schema.Array(Schema.String) })
export type RunAccess = typeof RunAccess.Type

/** A run that touches no events. */
export const noAccess: RunAccess = { reads: [], changes: [] }

/** Numbers that a run adds up, by their names. */
export type RunCounters = Readonly<Record<string, number>>

/** A row of the table of runs. Times are the server's. */
export interface Run {
  /** A UUID. */
  readonly id: string
  /** The kind of operation: `projection-rebuild`, … */
  readonly operationType: string
  /** The operation of that kind. No two unfinished runs have kind and name in common. */
  readonly name: string
  /** What was asked for, as JSON: what makes it other work than that of another run of this name. */
  readonly params: unknown
  /** The definitions that it works by, as one hash. */
  readonly definition: string
  readonly access: RunAccess
  /** What it is doing, in a word of its kind. */
  readonly phase: string
  /** How far it is, as its kind writes that down in JSON; none before its first batch. */
  readonly cursor: Option.Option<unknown>
  /** How many of `total` are done, lanes included. */
  readonly done: number
  readonly total: Option.Option<number>
  readonly counters: RunCounters
  /** How many processes have had it so far: what one of an earlier epoch still sends is refused. */
  readonly epoch: number
  /** The process that has it, or had it last. */
  readonly owner: RunOwner
  /** Until when it is that process's. */
  readonly leaseUntil: Option.Option<RecordedTime>
  /** Whether a process is in it: it is running, and its lease is not over. */
  readonly isLive: boolean
  readonly startedAt: RecordedTime
  /** When something of it was committed last. */
  readonly updatedAt: RecordedTime
  readonly endedAt: Option.Option<RecordedTime>
  /** Items a second, of the process that has it; none while there is nothing to tell from. */
  readonly rate: Option.Option<number>
  readonly outcome: RunOutcome
  readonly error: Option.Option<AttemptError>
}

/** A process that has a run. */
export interface RunOwner {
  readonly host: string
  readonly pid: number
}

/** Which run, and in which epoch: what every write of its owner names. */
export type RunKey = Pick<Run, "id" | "epoch">

/** One of the parts of a run that go side by side, each with a cursor of its own. */
export interface RunLane {
  readonly lane: string
  readonly cursor: Option.Option<unknown>
  readonly done: number
  /** How many batches of it were committed: the next one of its process follows on this. */
  readonly batches: number
}

/** How far a run came with one batch, written together with what the batch did. */
export interface BatchProgress {
  /** The lane whose cursor it is; the run's own if absent. */
  readonly lane?: string | undefined
  /** How many batches of the lane there must be before this one, or another process goes on with it: `RunLost`. Not looked at if absent. */
  readonly after?: number | undefined
  readonly phase?: string | undefined
  /** JSON; what is absent stays. */
  readonly cursor?: unknown
  /** How many more are done. */
  readonly done?: number | undefined
  readonly total?: number | undefined
  /** How much is added to each counter. */
  readonly counters?: RunCounters | undefined
}

/** What a batch answers with: a value for its caller, and how far the run came. */
export interface Batch<out A> extends BatchProgress {
  readonly value: A
}

/** Tables of ours that a kind needs, besides those of runs: created when its first run begins. */
export type KindTable =
  "es_ops_projections" | "es_ops_dead_letters" | "es_ops_purged_streams" | "es_ops_snapshots" | "es_ops_deliveries"

/** Another run is in the way: of the same operation with other parameters, or one that this one must not go beside. */
export class RunInProgress extends Schema.TaggedError<RunInProgress>()("RunInProgress", {
  /** The run in the way. */
  id: Schema.String,
  operationType: Schema.String,
  name: Schema.String,
  host: Schema.String,
  pid: Schema.Number,
  /** Why this one does not go on: "it has other parameters". */
  reason: Schema.String,
  /** Whether a process is in it; where none is, the one that is named was the last. */
  isLive: Schema.optionalWith(Schema.Boolean, { default: () => true })
}) {
  override get message(): string {
    const run = `${this.operationType} "${this.name}"`
    const standing = this.isLive
      ? `is under way as run ${this.id} (${this.host}, process ${this.pid})`
      : `is half done as run ${this.id} (last on ${this.host}, process ${this.pid})`
    const next = this.isLive ? "" : "The command that began it goes on with it; "
    return `${run} ${standing}, and ${this.reason}. ${next}es-ops runs shows it; es-ops runs:cancel ${this.id} ends it`
  }
}

/** Another process has taken the run over, as the lease of this one was over: nothing of the batch was kept. */
export class RunLost extends Schema.TaggedError<RunLost>()("RunLost", { id: Schema.String }) {
  override get message(): string {
    return `run ${this.id} was taken over by another process, as this one did not renew its lease in time; nothing of its last batch was kept`
  }
}

/** Somebody cancelled the run. */
export class RunCancelled extends Schema.TaggedError<RunCancelled>()("RunCancelled", { id: Schema.String }) {
  override get message(): string {
    return `run ${this.id} was cancelled`
  }
}

/** The run that this command waited for, in another process, failed. */
export class RunFailedElsewhere extends Schema.TaggedError<RunFailedElsewhere>()("RunFailedElsewhere", {
  id: Schema.String,
  operationType: Schema.String,
  name: Schema.String,
  host: Schema.String,
  pid: Schema.Number,
  error: Schema.NullOr(AttemptError)
}) {
  override get message(): string {
    const why = this.error === null ? "" : `: ${this.error.message}`
    return `${this.operationType} "${this.name}" failed in process ${this.pid} on ${this.host}, which this command waited for (run ${this.id})${why}`
  }
}

/** How long a lease is, and how often it is renewed, in seconds. */
export const lease = { seconds: 30, renewedEach: 5 } as const

/** Whether two values of JSON are the same, in whatever order their keys stand. */
export const isSameJson = (a: unknown, b: unknown): boolean => Equal.equals(structural(a), structural(b))

/** What JSON keeps of a value, comparable. */
const structural = (value: unknown): unknown => {
  if (Array.isArray(value)) return Data.array(value.map((each) => structural(each)))
  if (!Predicate.isRecord(value)) return value
  return Data.struct(
    Object.fromEntries(
      Object.entries(value)
        .filter(([, each]) => each !== undefined)
        .map(([key, each]) => [key, structural(each)])
    )
  )
}

/** The types that keep two runs from going side by side; none if nothing does. */
export const conflict = (a: RunAccess, b: RunAccess): ReadonlyArray<string> => [
  ...new Set([...common(a.reads, b.changes), ...common(a.changes, b.reads)])
]

const common = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): ReadonlyArray<string> =>
  a.includes("*") ? b : b.includes("*") ? a : a.filter((type) => b.includes(type))

/** The id of a run's marker and of its attempts. */
export const operationId = ({ id, name, operationType }: Pick<Run, "id" | "name" | "operationType">): string =>
  `${operationType}:${name}:${id}`

/** Items a second since the process that has it began; none before a second has passed, or anything is done. */
export const rateOf = (done: number, milliseconds: number): Option.Option<number> =>
  done > 0 && milliseconds >= 1000 ? Option.some((done * 1000) / milliseconds) : Option.none()

/** How many seconds are left at this rate, where that can be told. */
export const secondsLeft = ({ done, rate, total }: Pick<Run, "done" | "rate" | "total">): Option.Option<number> =>
  Option.zipWith(rate, total, (each, all) => Math.max(0, Math.ceil((all - done) / each)))
