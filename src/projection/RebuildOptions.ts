/**
 * How a rebuild is to go.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** How the table takes over what was computed: OPERATIONS of the documentation has what each spares, and whom. */
export type RebuildMode = "auto" | "merge" | "gradual" | "swap"

/** The options, all optional. */
export interface RebuildOptions {
  /** Default: `auto`, which merges unless that would stop writers for longer than `maxStall`. */
  readonly mode?: RebuildMode | undefined
  /** What becomes of rows without any event. Default: they are refused. */
  readonly ghosts?: "refuse" | "keep" | "delete" | undefined
  /** How many rows `ghosts: "delete"` is to delete; another number is refused. Default: any. */
  readonly expect?: number | undefined
  /** What becomes of an event that cannot be read or folded. Default: the rebuild fails. */
  readonly onPoison?: "fail" | "quarantine" | undefined
  /** How long writers may be stopped at the cut-over. Default: 250 ms. */
  readonly maxStall?: Duration.DurationInput | undefined
  /** How many parts are computed side by side, each on a connection of its own. Default: 1. */
  readonly lanes?: number | undefined
  /** Begin anew, whatever an unfinished run has. Default: no. */
  readonly restart?: boolean | undefined
  /** How long to wait for transactions that append, and to try the cut-over. Default: that of the settings. */
  readonly lockTimeout?: Duration.DurationInput | undefined
}

/** The options with every default in place. */
export interface RebuildPolicy {
  readonly mode: RebuildMode
  readonly ghosts: "refuse" | "keep" | "delete"
  readonly expect: Option.Option<number>
  readonly onPoison: "fail" | "quarantine"
  readonly maxStall: Duration.Duration
  readonly lanes: number
  readonly lockTimeout: Duration.Duration
}

/** Fills in the defaults. */
export const policy = (options: RebuildOptions, lockTimeout: Duration.Duration): RebuildPolicy => ({
  mode: options.mode ?? "auto",
  ghosts: options.ghosts ?? "refuse",
  expect: Option.fromNullable(options.expect),
  onPoison: options.onPoison ?? "fail",
  maxStall: Duration.decode(options.maxStall ?? "250 millis"),
  lanes: Math.max(1, Math.floor(options.lanes ?? 1)),
  lockTimeout: options.lockTimeout === undefined ? lockTimeout : Duration.decode(options.lockTimeout)
})
