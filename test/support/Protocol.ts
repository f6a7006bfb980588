/**
 * Seeds that are applied on a database of their own, and what is in it afterwards.
 */
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Effect, Either, Layer } from "effect"
import { EsOps, SeedContext, SeedReport, SeedRunner, SeedSource } from "effect-es-ops"
import type { Observer } from "./Applying.js"
import { quiet } from "./Applying.js"
import { TestDatabase } from "./TestDatabase.js"
import * as Database from "./TestDatabase.js"

/** A write of a tenant of this key. */
export const tenant = (key: string) => SeedContext.systemWriteAs("tenant:write:create", { key, name: key })

/** The client. */
export const sql = SqlClient.SqlClient
/** A statement of a seed. */
export const statement = (text: string) => Effect.flatMap(sql, (client) => client.unsafe(text))

/** How many events there are. */
export const events = Effect.flatMap(TestDatabase, ({ query }) =>
  Effect.promise(() => query("SELECT count(*)::int AS n FROM kumiko_events"))
)
/** The attempts, oldest first. */
export const attempts = Effect.flatMap(TestDatabase, ({ query }) =>
  Effect.promise(() => query("SELECT operation_id AS id, outcome, error FROM es_ops_attempts ORDER BY id"))
)
/** The ids that are applied. */
export const markers = Effect.flatMap(TestDatabase, ({ query }) =>
  Effect.promise(() => query("SELECT id FROM kumiko_es_operations ORDER BY id"))
)

/** Each test has a database of its own. */
export const fresh = (config: Parameters<typeof Database.client>[0] = {}) =>
  Effect.provide(Layer.provideMerge(Database.client(config), Database.layer))

/** Applies these seeds. */
export const apply = <S extends SeedSource.Recorded = never>(
  seeds: Readonly<Record<string, S>>,
  { observer, ...settings }: { readonly lockTimeout?: number; readonly observer?: Observer } = {}
) => Effect.provide(SeedRunner.apply({ appliedBy: "boot", observer }), EsOps.layer({ ...settings, seeds }))

/** Says nothing, and does this at each attempt that found the lock held. */
export const onWait = (waiting: Effect.Effect<unknown>): Observer => ({
  ...quiet,
  waiting: () => Effect.asVoid(waiting)
})

/** What applying these seeds fails with, which must be a seed that failed. */
export const failureOf = <S extends SeedSource.Recorded = never>(seeds: Readonly<Record<string, S>>) =>
  Effect.flatMap(Effect.either(apply(seeds)), (result) =>
    Either.isLeft(result) && result.left instanceof SeedReport.SeedFailed
      ? Effect.succeed(result.left)
      : Effect.dieMessage(`expected SeedFailed, got ${JSON.stringify(result)}`)
  )

/** Nothing but the attempt; "0" is a seed that was there before, so that the tables are. */
export const nothingKept = (id: string, outcome = "failed") =>
  Effect.gen(function* () {
    const others = (rows: ReadonlyArray<Record<string, unknown>>) => rows.filter((row) => row["id"] !== "0")
    assert.deepStrictEqual(yield* events, [{ n: 0 }])
    assert.deepStrictEqual(others(yield* markers), [])
    assert.deepStrictEqual(
      others(yield* attempts).map((row) => [row["id"], row["outcome"]]),
      [[id, outcome]]
    )
  })
