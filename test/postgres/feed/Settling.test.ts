/**
 * The wait for transactions that append, on a real server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Option } from "effect"
import { EventFeed } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import type { Client } from "pg"
import { fresh, layerOf } from "../../support/Applying.js"
import * as Reference from "../../support/Reference.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const insert = (more = "") =>
  `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
    VALUES ('${randomUUID()}', 'thing', '${randomUUID()}', 1, 'came', ${more === "" ? `'{}'` : more}, '{"userId": "u"}', 'u')`

/** The feed of an application on this database, as long as the test takes. */
const feedOn = (url: string) =>
  Effect.map(Layer.build(layerOf(Database.clientOf(url), {})), (services) => Context.get(services, EventFeed.EventFeed))

/** A feed of the reference's tables, with ways to append to them in sessions of one's own. */
const world = Effect.gen(function* () {
  const { connect, query, url } = yield* TestDatabase
  const run = (text: string) => Effect.promise(() => query(text))
  yield* run(Reference.tables)
  const feed = yield* feedOn(url)
  const session = Effect.promise(connect)
  const send = (client: Client, text: string) => Effect.promise(() => client.query(text))
  return { feed, run, session, send }
})

/** When a feed looked for transactions that append last. */
const lastLook = (run: (text: string) => Effect.Effect<ReadonlyArray<Record<string, unknown>>>) =>
  Effect.map(
    run(`SELECT max(query_start)::text AS at FROM pg_stat_activity WHERE datname = current_database()
      AND pid <> pg_backend_pid() AND query LIKE '%FROM pg_locks%'`),
    ([look]) => look?.["at"]
  )

describe("a feed where a transaction that appends is open", () => {
  it.live("is not settled before that is over, and names it: an idle writer holds a lower id back", () =>
    Effect.gen(function* () {
      const { feed, run, send, session } = yield* world
      const writer = yield* session
      yield* send(writer, `BEGIN; SET LOCAL application_name = 'importer'; ${insert()}`)
      yield* send(writer, `SELECT 1 AS "thinking  hard"`)
      yield* run(insert())
      const refused = yield* Effect.flip(feed.settled(0))
      assert.strictEqual(refused._tag, "SettleTimeout")
      assert.match(
        refused.message,
        /server process \d+ \(importer, 127\.0\.0\.1\) since \d{4}-.*Z, last statement: SELECT 1 AS "thinking hard"$/
      )
      const looks = lastLook(run)
      const before = yield* looks
      const settled = yield* Effect.fork(feed.settled("1 minute"))
      yield* Effect.repeat(looks, { until: (at) => at !== before })
      // Another that comes now has a higher id, and is not waited for.
      const later = yield* session
      yield* send(later, `BEGIN; ${insert()}`)
      yield* send(writer, "COMMIT")
      const upTo = yield* Fiber.join(settled)
      assert.isTrue(upTo === 2n || upTo === 3n)
    }).pipe(fresh)
  )

  it.live("waits for a transaction that is prepared meanwhile, and names it by its gid", () =>
    Effect.gen(function* () {
      const { feed, run, send, session } = yield* world
      const writer = yield* session
      yield* send(writer, `BEGIN; ${insert()}`)
      const settled = yield* Effect.fork(feed.settled("1 minute"))
      const looks = lastLook(run)
      const looked = (before: unknown) => Effect.repeat(looks, { until: (at) => at !== null && at !== before })
      yield* looked(null)
      yield* send(writer, "PREPARE TRANSACTION 'order ''17'''")
      yield* looked(yield* looked(yield* looked(yield* looks)))
      assert.deepStrictEqual(yield* Fiber.poll(settled), Option.none())
      const refused = yield* Effect.flip(feed.settled(0))
      assert.include(refused.message, `the prepared transaction "order '17'" since `)
      yield* run("COMMIT PREPARED 'order ''17'''")
      assert.strictEqual(yield* Fiber.join(settled), 1n)
    }).pipe(fresh)
  )

  it.live("names it by its process and application for a role that may not see more", () =>
    Effect.gen(function* () {
      const { send, session } = yield* world
      const { query, url } = yield* TestDatabase
      const role = `feed_${randomUUID().replaceAll("-", "")}`
      yield* Effect.acquireRelease(
        Effect.promise(() => query(`CREATE ROLE ${role} LOGIN PASSWORD 'p'; GRANT SELECT ON kumiko_events TO ${role}`)),
        () => Effect.promise(() => query(`DROP OWNED BY ${role}; DROP ROLE ${role}`))
      )
      const own = new URL(url)
      own.username = role
      own.password = "p"
      const feed = yield* feedOn(own.href)
      const problem = yield* feed.problem
      assert.include(Option.getOrThrow(problem).message, "GRANT USAGE ON SEQUENCE kumiko_events_id_seq")
      yield* Effect.promise(() => query(`GRANT USAGE ON SEQUENCE kumiko_events_id_seq TO ${role}`))
      yield* send(yield* session, `SET application_name = 'importer'; BEGIN; ${insert()}`)
      const refused = yield* Effect.flip(feed.settled(0))
      assert.match(refused.message, /: server process \d+ \(importer\)$/)
    }).pipe(fresh)
  )

  it.live("counts partitions with their table, also where an append goes to one of them alone", () =>
    Effect.gen(function* () {
      const { feed, run, send, session } = yield* world
      yield* run(`CREATE TABLE part () INHERITS (kumiko_events)`)
      const writer = yield* session
      yield* send(writer, `BEGIN; ${insert().replace("kumiko_events", "part")}`)
      assert.include((yield* Effect.flip(feed.settled(0))).message, "server process")
      yield* send(writer, "COMMIT")
      assert.strictEqual(yield* feed.settled("1 minute"), 1n)
    }).pipe(fresh)
  )
})

describe("a feed whose ids are not given in order", () => {
  it.live.each([
    ["no sequence gives them", "ALTER TABLE kumiko_events ALTER id DROP DEFAULT"],
    ["takes 20 of kumiko_events_id_seq at a time", "ALTER SEQUENCE kumiko_events_id_seq CACHE 20"],
    ["descends", "ALTER SEQUENCE kumiko_events_id_seq INCREMENT -1 MINVALUE -99"],
    ["begins again", "ALTER SEQUENCE kumiko_events_id_seq CYCLE"],
    [
      "event 9 is above the sequence kumiko_events_id_seq, which is at 1",
      `${insert()}; UPDATE kumiko_events SET id = 9`
    ],
    [
      "does more than to take the next value",
      "ALTER TABLE kumiko_events ALTER id SET DEFAULT nextval('kumiko_events_id_seq') * 2"
    ],
    [
      "more than one sequence gives them: kumiko_events_id_seq and other",
      "CREATE SEQUENCE other; CREATE TABLE part (id bigint DEFAULT nextval('other')) INHERITS (kumiko_events)"
    ]
  ] as const)("says so before anything is begun: %s", ([reason, statement]) =>
    Effect.gen(function* () {
      const { feed, run } = yield* world
      yield* run(statement)
      assert.include(Option.getOrThrow(yield* feed.problem).message, reason)
      const refused = yield* Effect.flip(feed.settled(0))
      assert.strictEqual(refused._tag, "DatabaseError")
      assert.include(refused.message, reason)
    }).pipe(fresh)
  )

  it.live("is none with an identity column", () =>
    Effect.gen(function* () {
      const { feed, run } = yield* world
      yield* run(`ALTER TABLE kumiko_events ALTER id DROP DEFAULT;
        ALTER TABLE kumiko_events ALTER id ADD GENERATED ALWAYS AS IDENTITY; ${insert()}`)
      assert.deepStrictEqual(yield* feed.problem, Option.none())
      assert.strictEqual(yield* feed.settled(0), 1n)
    }).pipe(fresh)
  )
})

describe("a feed of rows that other programs wrote", () => {
  it.live("reads JSON in a jsonb text, and names what is no JSON object as unreadable", () =>
    Effect.gen(function* () {
      const { feed, run } = yield* world
      yield* run(insert(`to_jsonb('{"sku": "a"}'::text)`))
      yield* run(insert(`'"{"'`))
      yield* run(insert("'[1]'"))
      yield* run(`${insert()}; UPDATE kumiko_events SET metadata = '{"userId": 1}' WHERE id = 4`)
      const events = yield* feed.page({}, 10)
      assert.deepStrictEqual(
        events.map(({ payload }) => payload),
        [{ sku: "a" }, {}, {}, {}]
      )
      assert.deepStrictEqual(
        events.map(({ unreadable }) => unreadable?.split(":")[0]),
        [undefined, "it is no JSON", "its payload is no JSON object", "its metadata is not that of an event"]
      )
    }).pipe(fresh)
  )
})
