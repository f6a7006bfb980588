/**
 * Seeds of a line, and what applies them over a client.
 */
import { SqlClient } from "@effect/sql"
import type { Scope } from "effect"
import { Effect, Layer } from "effect"
import { EsOps, EventStore, Seed, SeedContext, SeedRunner, Transactor } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as Database from "./TestDatabase.js"
import { TestDatabase } from "./TestDatabase.js"

/** A seed that does this. */
export const seed = <E, R>(run: Effect.Effect<unknown, E, R>) => Seed.make({ description: "", run })

/** A write through the identity feature. */
export const tenant = (key: string, name = key) => SeedContext.systemWriteAs("tenant:write:create", { key, name })

/** An event of no feature. */
export const event = (type: string, payload: Readonly<Record<string, unknown>> = {}) =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    store.append([
      {
        tenantId: randomUUID(),
        aggregateId: randomUUID(),
        aggregateType: "thing",
        version: 1,
        type,
        eventVersion: 1,
        payload,
        metadata: { userId: "somebody" }
      }
    ])
  )

/** Told of a run. */
export type Observer = Exclude<SeedRunner.ApplyOptions["observer"], undefined>

/** One that says nothing. */
export const quiet: Observer = {
  planned: () => Effect.void,
  waiting: () => Effect.void,
  started: () => Effect.void,
  outcome: () => Effect.void
}

/** Applies the seeds. */
export const apply = (observer: Observer = quiet) => SeedRunner.apply({ appliedBy: "boot", observer })

/** Seeds by their ids. */
export type Seeds = Readonly<
  Record<string, Seed.Seed<unknown, SqlClient.SqlClient | EventStore.EventStore | Transactor.Transactor>>
>

/** Everything that applying them needs, over this client. */
export const layerOf = (client: Layer.Layer<SqlClient.SqlClient>, seeds: Seeds) =>
  Layer.provideMerge(EsOps.layer({ seeds }), client)

/** Runs a test on a fresh database. */
export const fresh = <A, E>(test: Effect.Effect<A, E, TestDatabase | Scope.Scope>) =>
  test.pipe(Effect.scoped, Effect.provide(Database.layer))

/** The same object with another member. */
export const replaced = <A extends object, K extends keyof A>(of: A, name: K, member: A[K]): A =>
  new Proxy(of, { get: (target, key) => (key === name ? member : Reflect.get(target, key)) })
