/**
 * Streams that are archived and restored where a trigger or a rule keeps their marks from being what they are said to be.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { EventStore, StreamArchive, StreamRestore } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { fresh, layerOf, seed, apply } from "../support/Applying.js"
import * as Database from "../support/TestDatabase.js"
import { TestDatabase } from "../support/TestDatabase.js"

const table = "kumiko_archived_streams"

const returning = (body: string) =>
  `CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body}; RETURN NULL; END $$`

const none = returning("PERFORM 1")
const removing = returning(`DELETE FROM ${table} WHERE aggregate_id = NEW.aggregate_id`)

const swallowing: Readonly<Record<string, ReadonlyArray<string>>> = {
  "a trigger before the row": [none, `CREATE TRIGGER t BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION f()`],
  "a rule": [`CREATE RULE r AS ON INSERT TO ${table} DO INSTEAD NOTHING`],
  "a trigger behind the row": [removing, `CREATE TRIGGER t AFTER INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION f()`],
  "a deferred trigger": [
    removing,
    `CREATE CONSTRAINT TRIGGER t AFTER INSERT ON ${table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()`
  ]
}

const keeping: Readonly<Record<string, ReadonlyArray<string>>> = {
  "a trigger before the row": [none, `CREATE TRIGGER t BEFORE DELETE ON ${table} FOR EACH ROW EXECUTE FUNCTION f()`],
  "a rule": [`CREATE RULE r AS ON DELETE TO ${table} DO INSTEAD NOTHING`]
}

/** Two streams in a database, and ways to ask for them. */
const prepared = Effect.gen(function* () {
  const { query, url } = yield* TestDatabase
  const layer = layerOf(Database.clientOf(url), { "1": seed(Effect.void) })
  const streams = [randomUUID(), randomUUID()].map((aggregateId) => ({ tenantId: randomUUID(), aggregateId }))
  const appending = Effect.forEach(streams, (stream) =>
    Effect.flatMap(EventStore.EventStore, (store) =>
      store.append([
        {
          ...stream,
          aggregateType: "thing",
          version: 1,
          type: "happened",
          eventVersion: 1,
          payload: {},
          metadata: { userId: "somebody" }
        }
      ])
    )
  )
  yield* Effect.provide(Effect.zipRight(apply(), appending), layer)
  const rows = (text: string) => Effect.promise(() => query(text))
  return { layer, rows, streams, marks: rows(`SELECT count(*)::int AS n FROM ${table}`) }
})

const undo = `DROP FUNCTION IF EXISTS f CASCADE; DROP RULE IF EXISTS r ON ${table}`

describe("a change of marks that the table does not keep", () => {
  it.effect("is no archiving: it fails, and nothing is archived", () =>
    Effect.gen(function* () {
      const { layer, marks, rows, streams } = yield* prepared
      for (const [title, statements] of Object.entries(swallowing)) {
        yield* rows(statements.join("; "))
        const failed = yield* Effect.flip(Effect.provide(StreamArchive.run({ streams }), layer))
        assert.strictEqual(failed._tag, "DatabaseError", title)
        assert.include(failed.message, `${table} did not store the row as it was sent`, title)
        assert.notInclude(failed.message, "invalid input syntax", title)
        assert.deepStrictEqual(yield* marks, [{ n: 0 }], title)
        yield* rows(undo)
      }
      const done = yield* Effect.provide(StreamArchive.run({ streams }), layer)
      assert.lengthOf(done.changed, 2)
    }).pipe(fresh)
  )

  it.effect("is no restoring: it fails, and the marks stay", () =>
    Effect.gen(function* () {
      const { layer, marks, rows, streams } = yield* prepared
      yield* Effect.provide(StreamArchive.run({ streams }), layer)
      for (const [title, statements] of Object.entries(keeping)) {
        yield* rows(statements.join("; "))
        const failed = yield* Effect.flip(Effect.provide(StreamRestore.run({ streams }), layer))
        assert.strictEqual(failed._tag, "DatabaseError", title)
        assert.include(failed.message, `${table} did not store the row as it was sent`, title)
        assert.deepStrictEqual(yield* marks, [{ n: 2 }], title)
        yield* rows(undo)
      }
      const done = yield* Effect.provide(StreamRestore.run({ streams }), layer)
      assert.lengthOf(done.changed, 2)
    }).pipe(fresh)
  )
})
