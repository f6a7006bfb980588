/**
 * The definition of a long operation: what its kind gives so that it is run.
 */
import type * as Effect from "effect/Effect"
import type { AppliedBy } from "./Operation.js"
import type { KindTable, Run, RunAccess } from "./Run.js"
import type { RunHandle } from "./RunHandle.js"
import type { RunObserver } from "./RunObserver.js"

/** A long operation, as its kind gives it. */
export interface RunDefinition<A, E, R> {
  /** The kind: `projection-rebuild`, … */
  readonly operationType: string
  /** The operation of that kind. */
  readonly name: string
  /** JSON: what makes it other work than that of another run of this name, and nothing that only says how it goes. */
  readonly params: unknown
  /** A hash of the definitions that it works by: where an unfinished run has another one, it is dropped and begun anew. */
  readonly definition: string
  /** What it reads and changes. Default: nothing that another run must not touch. */
  readonly access?: RunAccess | undefined
  /** Tables of ours that are to be there when it begins. */
  readonly tables?: ReadonlyArray<KindTable> | undefined
  /** Whether an unfinished run that nobody is in is dropped and begun anew. Default: it is gone on with. */
  readonly restart?: boolean | undefined
  readonly appliedBy: AppliedBy
  /** The notes of the marker that success writes, if this kind writes one; as a function, of what came of the work. */
  readonly marker?: string | ((value: A) => string) | undefined
  /** Default: a line in the log every ten seconds. */
  readonly observer?: RunObserver | undefined
  /** Which of its own failures are none of the work, so that it goes on later: a wait that took as long as `lockTimeout`. */
  readonly pauses?: ((error: E) => boolean) | undefined
  /** The work, in batches. */
  readonly work: (run: RunHandle) => Effect.Effect<A, E, R>
  /** What goes into the transaction that ends it, with its marker. */
  readonly last?: ((value: A) => Effect.Effect<void, E, R>) | undefined
  /** Drops what a run that did not succeed left behind, in a transaction; it may be gone already. What it made is named by the run's id. */
  readonly drop: (run: Run) => Effect.Effect<void, E, R>
}
