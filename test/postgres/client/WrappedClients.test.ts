/**
 * An application's own things around the client's connection, or around its driver.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import { SqlClient } from "@effect/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Predicate } from "effect"
import { Pool } from "pg"
import { apply, fresh, layerOf, replaced, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

describe("a write", () => {
  it.effect("goes as a text through whatever was put around the client's connection, or around its driver", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const texts: Array<string> = []
      yield* Effect.provide(apply(), layerOf(noting(url, texts), { a: seed(tenant("a")) }))
      assert.isTrue(texts.some((text) => text.includes('INSERT INTO "public"."kumiko_events"')))
      yield* Effect.provide(apply(), layerOf(tagged(url), { a: seed(tenant("a")), b: seed(tenant("b")) }))
      assert.lengthOf(yield* Effect.promise(() => query("SELECT FROM kumiko_events")), 2)
    }).pipe(fresh)
  )
})

describe("a statement over a connection of the application's own", () => {
  it.live("can be interrupted where nobody can cancel it, with a pool of one", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const texts: Array<string> = []
      const sleep = "SELECT pg_sleep(600)"
      const run = Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(sleep))
      const one = noting(url, texts, { maxConnections: 1 })
      const fiber = yield* Effect.fork(Effect.provide(apply(), layerOf(one, { a: seed(run) })))
      const sleeping = `SELECT FROM pg_stat_activity WHERE query = '${sleep}' AND datname = current_database()`
      yield* Effect.repeat(
        Effect.promise(() => query(sleeping)),
        { until: (found) => found.length === 1 }
      )
      yield* Fiber.interrupt(fiber)
      assert.include(texts, sleep)
    }).pipe(fresh)
  )
})

/** A client whose reserved connections note what goes over them. */
const noting = (
  url: string,
  texts: Array<string>,
  config?: Partial<PgClient.PgClientConfig>
): Layer.Layer<SqlClient.SqlClient> =>
  Layer.map(Database.clientOf(url, config), (services) => {
    const sql = Context.get(services, SqlClient.SqlClient)
    const reserve = Effect.map(sql.reserve, (connection) => new Noting(connection, texts))
    return Context.make(SqlClient.SqlClient, replaced(sql, "reserve", reserve))
  })

/** A connection of an application's own class around the client's, which reads every text. */
class Noting implements Connection {
  readonly pg: unknown

  constructor(
    private readonly inner: Connection,
    private readonly texts: Array<string>
  ) {
    this.pg = Predicate.hasProperty(inner, "pg") ? inner.pg : undefined
  }

  private noted(text: string): string {
    this.texts.push(text.trim())
    return text
  }

  execute(text: string, ...rest: Tail<Connection["execute"]>) {
    return this.inner.execute(this.noted(text), ...rest)
  }
  executeRaw(text: string, ...rest: Tail<Connection["executeRaw"]>) {
    return this.inner.executeRaw(this.noted(text), ...rest)
  }
  executeStream(text: string, ...rest: Tail<Connection["executeStream"]>) {
    return this.inner.executeStream(this.noted(text), ...rest)
  }
  executeValues(text: string, ...rest: Tail<Connection["executeValues"]>) {
    return this.inner.executeValues(this.noted(text), ...rest)
  }
  executeUnprepared(text: string, ...rest: Tail<Connection["executeUnprepared"]>) {
    return this.inner.executeUnprepared(this.noted(text), ...rest)
  }
}

type Tail<F extends (text: string, ...rest: never) => unknown> = F extends (text: string, ...rest: infer R) => unknown
  ? R
  : never

/** A client whose driver tags every query with a comment, by a copy of what it is asked. */
const tagged = (url: string): Layer.Layer<SqlClient.SqlClient> => {
  const tag = (asked: unknown): unknown =>
    Predicate.hasProperty(asked, "text") ? { ...asked, text: `/* tagged */ ${String(asked.text)}` } : asked
  const acquire = Effect.acquireRelease(
    Effect.sync(() => {
      const pool = new Pool({ connectionString: url, max: 2 })
      return pool.on("connect", (client) => {
        const { query } = client
        Reflect.set(client, "query", (...asked: ReadonlyArray<unknown>) => Reflect.apply(query, client, asked.map(tag)))
      })
    }),
    (pool) => Effect.promise(() => pool.end())
  )
  return Layer.scopedContext(
    Effect.map(PgClient.fromPool({ acquire }), (client) => Context.make(SqlClient.SqlClient, client))
  ).pipe(Layer.provide(Reactivity.layer), Layer.orDie)
}
