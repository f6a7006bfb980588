/**
 * What is taken from the driver that the types of its client do not have: it is there, and says what it is taken to say.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as DriverAccess from "../../../src/postgres/client/DriverAccess.js"
import { fresh } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const reserved = Effect.flatMap(SqlClient.SqlClient, (sql) => sql.reserve)

const onDatabase = <A, E, R>(test: Effect.Effect<A, E, R | SqlClient.SqlClient>) =>
  Effect.flatMap(TestDatabase, ({ url }) => Effect.provide(test, Database.clientOf(url)))

describe("the driver behind a connection of the client", () => {
  it.effect("tells the state of the transaction that the server last told it", () =>
    onDatabase(
      Effect.gen(function* () {
        const connection = yield* reserved
        const statusAfter = (text: string) =>
          Effect.map(Effect.exit(connection.executeRaw(text, [])), () =>
            Option.getOrNull(DriverAccess.transactionStatus(connection))
          )
        assert.strictEqual(yield* statusAfter("SELECT 1"), "I")
        assert.strictEqual(yield* statusAfter("BEGIN"), "T")
        // A failure is answered before the server has told the state that it left: that is known behind the next statement.
        yield* statusAfter("SELECT 1/0")
        assert.strictEqual(yield* statusAfter("SELECT 1"), "E")
        assert.strictEqual(yield* statusAfter("ROLLBACK"), "I")
      }).pipe(Effect.scoped)
    ).pipe(fresh)
  )

  it.effect("knows the session that it was announced, which is the one that answers where there is no pooler", () =>
    onDatabase(
      Effect.gen(function* () {
        const connection = yield* reserved
        const [row] = yield* connection.execute("SELECT pg_backend_pid() AS pid", [], undefined)
        assert.strictEqual(Option.getOrNull(DriverAccess.announcedSession(connection)), Object(row).pid)
      }).pipe(Effect.scoped)
    ).pipe(fresh)
  )

  it.effect("closes its socket, after which the pool opens another connection and the server has ended the first", () =>
    onDatabase(
      Effect.gen(function* () {
        const { query } = yield* TestDatabase
        const pidOf = Effect.flatMap(reserved, (connection) =>
          Effect.map(connection.execute("SELECT pg_backend_pid() AS pid", [], undefined), ([row]) => ({
            connection,
            pid: Number(Object(row).pid)
          }))
        )
        const first = yield* Effect.scoped(Effect.tap(pidOf, ({ connection }) => DriverAccess.disconnect(connection)))
        const second = yield* Effect.scoped(pidOf)
        assert.notStrictEqual(second.pid, first.pid)
        yield* Effect.repeat(
          Effect.promise(() => query(`SELECT FROM pg_stat_activity WHERE pid = ${first.pid}`)),
          { until: (found) => found.length === 0 }
        )
      })
    ).pipe(fresh)
  )

  it("is nothing that is known where a connection has none", () => {
    const without = { pg: undefined }
    const connection = Object.assign(Object.create(null), without)
    assert.isTrue(Option.isNone(DriverAccess.transactionStatus(connection)))
    assert.isTrue(Option.isNone(DriverAccess.announcedSession(connection)))
  })
})
