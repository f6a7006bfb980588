/**
 * Rebuilds of tests, and what is done to the table and to its events meanwhile.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { ProjectionRebuild } from "effect-es-ops"
import type { Client } from "pg"
import * as World from "../../support/RebuildWorld.js"
import * as Database from "../../support/TestDatabase.js"

export const of = (name: string, options: ProjectionRebuild.Options = {}) =>
  Effect.map(ProjectionRebuild.run({ projections: [name], ...options }), ([report]) => report)

export const rebuild = (options: ProjectionRebuild.Options = {}) => of("sums", options)

export const query = (text: string, params?: ReadonlyArray<unknown>) =>
  Effect.flatMap(Database.TestDatabase, (database) => Effect.promise(() => database.query(text, params)))

export const using = <A>(use: (client: Client) => Promise<A>) =>
  Effect.flatMap(Database.TestDatabase, ({ connect }) => Effect.promise(async () => use(await connect())))

/** No row is wrong. */
export const isRight = Effect.map(query(World.wrongRows), (wrong) => assert.deepStrictEqual(wrong, []))

export const damage = (n: number) =>
  query("UPDATE read_counters SET total = total + 100 WHERE id = $1", [World.idOf(n)])

/** Does something when a phase is reached for the first time. */
export const at = (phase: string, work: () => Promise<unknown>) => during({ [phase]: work })

export const during = (works: { readonly [phase: string]: () => Promise<unknown> }) => {
  const reached = new Set<string>()
  return {
    began: () => Effect.void,
    waiting: () => Effect.void,
    ended: () => Effect.void,
    progress: ({ phase }: { readonly phase: string }) => {
      const work = works[phase]
      if (work === undefined || reached.has(phase)) return Effect.void
      reached.add(phase)
      return Effect.promise(work)
    }
  }
}
