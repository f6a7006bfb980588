/**
 * An application with a dispatcher of its own, and features over tables of its own.
 */
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import {
  EsOps,
  Feature,
  Projection,
  Seed,
  SeedContext,
  SeedLedger,
  SeedReport,
  SeedRunner,
  SeedStatus,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"
import { TestDatabase } from "../support/TestDatabase.js"
import * as Database from "../support/TestDatabase.js"

const { WriteRejected } = WriteDispatcher

/** Writes rows of a table; `elsewhere` tells of another connection than it is called on. */
const dispatcher = (elsewhere: boolean) =>
  Layer.effect(
    WriteDispatcher.WriteDispatcher,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { query } = yield* TestDatabase
      return WriteDispatcher.WriteDispatcher.of({
        names: ["notes:write:add"],
        transactionId: elsewhere
          ? Effect.map(
              Effect.promise(() => query("SELECT pg_current_xact_id()::text AS id")),
              ([row]) => String(row?.["id"])
            )
          : Effect.orDie(
              Effect.map(sql<{ id: string }>`SELECT pg_current_xact_id()::text AS id`, ([row]) => row?.id ?? "")
            ),
        write: ({ handler, payload }) =>
          payload === "bad"
            ? new WriteRejected({ handler, code: "bad_payload", reason: "not that one" })
            : sql`INSERT INTO notes VALUES (${String(payload)})`.pipe(
                Effect.orDie,
                Effect.as({ data: { id: String(payload) }, events: [] })
              )
      })
    })
  )

const add = (text: string) => SeedContext.systemWriteAs("notes:write:add", text)

layer(Layer.empty, { excludeTestServices: true })("a dispatcher of the application's own", (it) => {
  const fresh = Effect.provide(Layer.provideMerge(Database.client(), Database.layer))
  const notes = Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query("SELECT text FROM notes")))
  const prepare = Effect.flatMap(TestDatabase, ({ query }) =>
    Effect.promise(() => query("CREATE TABLE notes (text text)"))
  )

  it.effect("writes in the seed's transaction, and no event tables are created", () =>
    Effect.gen(function* () {
      yield* prepare
      const run = Effect.gen(function* () {
        yield* add("kept")
        const rejected = yield* Effect.flip(SeedContext.systemWriteAll("notes:write:add", ["undone", "bad"]))
        assert.deepInclude(rejected, { _tag: "WriteRejected", code: "bad_payload" })
      })
      const seeds = {
        "1": Seed.make({ description: "", run }),
        "2": Seed.make({ description: "", run: Effect.zipRight(add("undone too"), Effect.fail(new Error("no"))) })
      }
      const error = yield* Effect.flip(
        Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), EsOps.layer({ seeds, dispatcher: dispatcher(false) }))
      )
      assert.deepInclude(error, { _tag: "SeedFailed", id: "2", applied: ["1"] })
      assert.deepStrictEqual(yield* notes, [{ text: "kept" }])
      const { query } = yield* TestDatabase
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT to_regclass('kumiko_events')::text AS t")), [
        { t: null }
      ])
    }).pipe(fresh)
  )

  it.effect(
    "is refused before the first write when it writes through another connection, unless the settings allow it",
    () =>
      Effect.gen(function* () {
        yield* prepare
        const seeds = { "1": Seed.make({ description: "", run: add("x") }) }
        const on = (allowNonAtomicWriter: boolean) =>
          Effect.provide(
            SeedRunner.apply({ appliedBy: "boot" }),
            EsOps.layer({ seeds, dispatcher: dispatcher(true), allowNonAtomicWriter })
          )
        const error = yield* Effect.flip(on(false))
        assert.strictEqual(error._tag, "SeedsInconsistent")
        assert.include(error.message, "allowNonAtomicWriter")
        assert.deepStrictEqual(yield* notes, [])
        assert.strictEqual((yield* on(true)).outcomes.length, 1)
        assert.deepStrictEqual(yield* notes, [{ text: "x" }])
      }).pipe(fresh)
  )

  /** It has a connection of its own, which no seed's transaction reaches: plain pg. */
  const onPlainPg = Layer.scoped(
    WriteDispatcher.WriteDispatcher,
    Effect.gen(function* () {
      const { connect } = yield* TestDatabase
      const client = yield* Effect.promise(connect)
      const text = (sql: string, params: Array<string> = []) =>
        Effect.promise(async () => (await client.query<{ id: string }>(sql, params)).rows[0]?.id ?? "")
      return WriteDispatcher.WriteDispatcher.of({
        names: ["notes:write:add"],
        transactionId: text("SELECT pg_current_xact_id()::text AS id"),
        write: ({ payload }) =>
          Effect.map(text("INSERT INTO notes VALUES ($1) RETURNING text AS id", [String(payload)]), (id) => ({
            data: { id },
            events: []
          }))
      })
    })
  )

  it.effect("on plain pg is found out before the first write; allowed, its writes stay, and everything says so", () =>
    Effect.gen(function* () {
      yield* prepare
      const seeds = {
        "1": Seed.make({ description: "", run: add("one") }),
        "2": Seed.make({ description: "", run: Effect.zipRight(add("two"), Effect.fail(new Error("after the write"))) })
      }
      const { query } = yield* TestDatabase
      const tables = Effect.promise(() =>
        query("SELECT tablename AS t FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
      )
      const on = <A, E>(effect: Effect.Effect<A, E, EsOps.Services>, allowNonAtomicWriter: boolean) =>
        Effect.provide(effect, EsOps.layer({ seeds, dispatcher: onPlainPg, allowNonAtomicWriter }))
      const refused = yield* Effect.flip(on(SeedRunner.apply({ appliedBy: "boot" }), false))
      assert.strictEqual(refused._tag, "SeedsInconsistent")
      assert.include(refused.message, "let it use the same SqlClient, or set allowNonAtomicWriter")
      const dry = yield* Effect.flip(on(SeedRunner.dryRun({ appliedBy: "boot" }), true))
      assert.include(dry.message, "a dry run could not undo what it writes")
      assert.deepStrictEqual([yield* notes, yield* tables], [[], [{ t: "notes" }]])

      const outcomes: Array<SeedReport.SeedOutcome> = []
      const observer = {
        planned: () => Effect.void,
        waiting: () => Effect.void,
        started: () => Effect.void,
        outcome: (outcome: SeedReport.SeedOutcome) => Effect.sync(() => void outcomes.push(outcome))
      }
      const failed = yield* Effect.flip(on(SeedRunner.apply({ appliedBy: "boot", observer }), true))
      assert.deepInclude(failed, { _tag: "SeedFailed", id: "2", applied: ["1"] })
      // The weaker guarantee: the failed seed's write is there.
      assert.deepStrictEqual(yield* notes, [{ text: "one" }, { text: "two" }])
      assert.deepStrictEqual(
        outcomes.map((outcome) => [outcome.id, SeedReport.SeedOutcome.$is("Applied")(outcome) && outcome.atomic]),
        [["1", false]]
      )
      const history = yield* on(SeedLedger.history(), true)
      assert.deepStrictEqual(
        history.map(({ operationId, outcome, reason }) => [
          operationId,
          outcome,
          Option.getOrNull(reason)?.slice(0, 10)
        ]),
        [
          ["2", "failed", "not atomic"],
          ["1", "applied", "not atomic"]
        ]
      )
      const { seeds: status } = yield* on(SeedStatus.status, true)
      assert.deepStrictEqual(
        status.map(({ id, lastAttempt }) => [id, Option.isSome(Option.flatMap(lastAttempt, ({ reason }) => reason))]),
        [
          ["1", true],
          ["2", true]
        ]
      )
      assert.notInclude(
        (yield* tables).map(({ t }) => t),
        "kumiko_events"
      )
    }).pipe(fresh)
  )
})

layer(Layer.empty, { excludeTestServices: true })("a feature's projections", (it) => {
  const fresh = Effect.provide(Layer.provideMerge(Database.client(), Database.layer))
  const place = WriteHandler.make({
    name: "orders:write:place",
    payload: Schema.Struct({ id: Schema.UUID, total: Schema.Int }),
    access: ["system"],
    handle: ({ id, total }) => ({
      events: [{ aggregateId: id, aggregateType: "order", version: 1, type: "order.placed", payload: { id, total } }],
      data: { id }
    })
  })
  const projection = Projection.make({
    name: "read_orders",
    events: ["order.placed"],
    apply: (events) =>
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.forEach(
          events,
          ({ payload }) =>
            sql`INSERT INTO read_orders ${sql.insert({ id: String(payload["id"]), total: Number(payload["total"]) })}`,
          { discard: true }
        )
      )
  })
  const orders = (tables: ReadonlyArray<Feature.Table>) =>
    Feature.make({ name: "orders", handlers: [place], projections: [projection], tables })
  const owned: Feature.Table = {
    name: "read_orders",
    primaryKey: ["id"],
    columns: [
      { name: "id", type: "uuid" },
      { name: "total", type: "integer" }
    ]
  }
  const seed = Seed.make({
    description: "",
    run: SeedContext.systemWriteAs("orders:write:place", { id: "30000000-0000-4000-8000-000000000001", total: 7 })
  })
  const apply = (tables: ReadonlyArray<Feature.Table>) =>
    Effect.provide(
      SeedRunner.apply({ appliedBy: "boot" }),
      EsOps.layer({ seeds: { "1": seed }, features: [orders(tables)] })
    )
  const ask = (text: string) => Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query(text)))

  it.effect("fold into a table that the application has, and leave it as it is", () =>
    Effect.gen(function* () {
      yield* ask("CREATE TABLE read_orders (id uuid PRIMARY KEY, total numeric NOT NULL, note text DEFAULT 'theirs')")
      yield* apply([])
      assert.deepStrictEqual(yield* ask("SELECT total::int, note FROM read_orders"), [{ total: 7, note: "theirs" }])
    }).pipe(fresh)
  )

  it.effect("have tables that are created once, by the first apply that has something to do", () =>
    Effect.gen(function* () {
      yield* apply([owned])
      yield* apply([owned])
      assert.deepStrictEqual(yield* ask("SELECT total FROM read_orders"), [{ total: 7 }])
    }).pipe(fresh)
  )

  it.effect("are refused a table of other columns by name, before the first write", () =>
    Effect.gen(function* () {
      yield* ask("CREATE TABLE read_orders (id integer PRIMARY KEY)")
      const error = yield* Effect.flip(apply([owned]))
      assert.strictEqual(error._tag, "SeedsInconsistent")
      assert.deepStrictEqual(error._tag === "SeedsInconsistent" ? error.problems.map(({ _tag }) => _tag) : [], [
        "TableMismatch"
      ])
      assert.include(
        error.message,
        '"read_orders" cannot be used: column "id" is integer, not uuid; column "total" (integer) is missing'
      )
      assert.deepStrictEqual(yield* ask("SELECT to_regclass('kumiko_es_operations')::text AS t"), [{ t: null }])
    }).pipe(fresh)
  )
})
