/**
 * The seeds that a command works on: those that somebody named, or those of the default folder.
 */
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import { resolve } from "node:path"

/** The seeds, or none with a notice where the default folder is missing, which nobody named. */
export const of = <Seeds>({
  isNamed,
  seeds
}: {
  readonly seeds: Seeds
  readonly isNamed: boolean
}): Effect.Effect<Seeds | Readonly<Record<string, never>>> =>
  isNamed || typeof seeds !== "string" || existsSync(seeds)
    ? Effect.succeed(seeds)
    : Effect.as(Effect.logWarning(`the seeds folder ${resolve(seeds)} does not exist, so there are no seeds`), {})
