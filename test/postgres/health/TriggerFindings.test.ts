/**
 * Triggers and rules on our tables, as the doctor sees them: those that can swallow or change what is written, and no others.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import { SeedDoctor } from "effect-es-ops"
import { apply, fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

/** A database with one applied seed, and what its doctor finds wrong. */
const applied = Effect.gen(function* () {
  const { query, url } = yield* TestDatabase
  const layer = layerOf(Database.clientOf(url), { a: seed(tenant("one")) })
  assert.isTrue(Exit.isSuccess(yield* Effect.exit(Effect.provide(apply(), layer))))
  return {
    send: (texts: ReadonlyArray<string>) => Effect.promise(() => query(texts.join("; "))),
    wrong: Effect.map(Effect.provide(SeedDoctor.examine, layer), (findings) =>
      findings.filter(({ fault }) => fault !== "none")
    )
  }
})

const returning = (body: string) => `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} END $$`

const trigger = (when: string, table: string, more = "FOR EACH ROW") =>
  `CREATE TRIGGER t ${when} ON ${table} ${more} EXECUTE FUNCTION f()`

const faults: ReadonlyArray<readonly [what: string, statements: ReadonlyArray<string>, said: string, fix: string]> = [
  ...["kumiko_es_operations", "es_ops_attempts", "kumiko_events", "kumiko_archived_streams"].map(
    (table): (typeof faults)[number] => [
      `a trigger that returns no row of ${table}`,
      [returning("RETURN NULL;"), trigger("BEFORE INSERT", table)],
      `trigger t on ${table} (BEFORE INSERT, f())`,
      `ALTER TABLE ${table} DISABLE TRIGGER t;`
    ]
  ),
  [
    "a trigger that changes the markers",
    [returning("NEW.id := 'x'; RETURN NEW;"), trigger("BEFORE INSERT OR UPDATE", "kumiko_es_operations")],
    "trigger t on kumiko_es_operations (BEFORE INSERT, f())",
    "ALTER TABLE kumiko_es_operations DISABLE TRIGGER t;"
  ],
  [
    "a trigger that keeps markers from being deleted",
    [returning("RETURN NULL;"), trigger("BEFORE DELETE", "kumiko_es_operations")],
    "(BEFORE DELETE, f())",
    "DISABLE TRIGGER t;"
  ],
  [
    "a trigger that takes events away behind their INSERT",
    [
      returning("DELETE FROM ONLY public.kumiko_events WHERE id = NEW.id; RETURN NULL;"),
      trigger("AFTER INSERT", "kumiko_events")
    ],
    "trigger t on kumiko_events (AFTER INSERT, f())",
    "ALTER TABLE kumiko_events DISABLE TRIGGER t;"
  ],
  [
    "a trigger of the attempts that takes markers away",
    [
      returning('DELETE FROM "kumiko_es_operations"; RETURN NULL;'),
      trigger("AFTER INSERT", "es_ops_attempts", "FOR EACH STATEMENT")
    ],
    "trigger t on es_ops_attempts (AFTER INSERT, f())",
    "ALTER TABLE es_ops_attempts DISABLE TRIGGER t;"
  ],
  [
    "a rule that puts nothing in the place of a marker",
    ["CREATE RULE r AS ON INSERT TO kumiko_es_operations DO INSTEAD NOTHING"],
    "rule r on kumiko_es_operations (ON INSERT DO INSTEAD)",
    "DROP RULE r ON kumiko_es_operations;"
  ],
  [
    "a rule that keeps an attempt from being ended",
    ["CREATE RULE r AS ON UPDATE TO es_ops_attempts DO INSTEAD NOTHING"],
    "rule r on es_ops_attempts (ON UPDATE DO INSTEAD)",
    "DROP RULE r ON es_ops_attempts;"
  ],
  [
    "a trigger that swallows some rows of a read table",
    [
      returning("IF NEW.key = 'x' THEN RETURN NULL; END IF; RETURN NEW;"),
      trigger("BEFORE INSERT OR UPDATE", "read_tenants")
    ],
    "trigger t on read_tenants (BEFORE INSERT OR UPDATE, f())",
    "ALTER TABLE read_tenants DISABLE TRIGGER t;"
  ]
]

const harmless: Readonly<Record<string, ReadonlyArray<string>>> = {
  "is disabled": [
    returning("RETURN NULL;"),
    trigger("BEFORE INSERT", "kumiko_es_operations"),
    "ALTER TABLE kumiko_es_operations DISABLE TRIGGER t"
  ],
  "fires on replicas only": [
    returning("RETURN NULL;"),
    trigger("BEFORE INSERT", "kumiko_es_operations"),
    "ALTER TABLE kumiko_es_operations ENABLE REPLICA TRIGGER t"
  ],
  "comes behind the row": [
    returning("INSERT INTO outbox VALUES (NEW.id); DELETE FROM kumiko_events_old; RETURN NULL;"),
    trigger("AFTER INSERT", "kumiko_es_operations")
  ],
  "is one of the statement": [
    returning("RETURN NULL;"),
    trigger("BEFORE INSERT", "kumiko_es_operations", "FOR EACH STATEMENT")
  ],
  "keeps events from being changed": [
    returning("RAISE EXCEPTION 'no'; RETURN NULL;"),
    trigger("BEFORE UPDATE OR DELETE", "kumiko_events")
  ],
  "fills a column of a read table": [
    returning("NEW.inserted_at := now(); RETURN NEW;"),
    trigger("BEFORE INSERT OR UPDATE", "read_tenants")
  ]
}

/** Takes away what the statements of one case made. */
const drop = [
  "DROP FUNCTION IF EXISTS f CASCADE",
  "DROP RULE IF EXISTS r ON kumiko_es_operations",
  "DROP RULE IF EXISTS r ON es_ops_attempts"
]

describe("the doctor of triggers and rules", () => {
  it.effect("names each that can swallow or change a row, and says how to be rid of it", () =>
    Effect.gen(function* () {
      const { send, wrong } = yield* applied
      for (const [what, statements, said, fix] of faults) {
        yield* send(statements)
        const [finding, ...others] = yield* wrong
        assert.deepStrictEqual([finding?.name, others], ["triggers and rules", []], what)
        assert.include(finding?.detail, said, what)
        assert.include(
          Option.getOrElse(finding?.fix ?? Option.none(), () => ""),
          fix,
          what
        )
        yield* send(drop)
      }
      assert.deepStrictEqual(yield* wrong, [])
    }).pipe(fresh)
  )

  it.effect("names one that fires always, of a table in a schema whose name has to be quoted", () =>
    Effect.gen(function* () {
      const { send, wrong } = yield* applied
      yield* send([
        'CREATE SCHEMA "Ops"',
        'ALTER TABLE kumiko_es_operations SET SCHEMA "Ops"',
        `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, "Ops"', current_database()); END $$`,
        returning("RETURN NULL;"),
        trigger("BEFORE INSERT", '"Ops".kumiko_es_operations'),
        'ALTER TABLE "Ops".kumiko_es_operations ENABLE ALWAYS TRIGGER t'
      ])
      assert.deepStrictEqual(
        (yield* wrong).map(({ name }) => name),
        ["triggers and rules"]
      )
    }).pipe(fresh)
  )

  it.effect("has nothing to say of those that leave each row as it is sent", () =>
    Effect.gen(function* () {
      const { send, wrong } = yield* applied
      for (const [what, statements] of Object.entries(harmless)) {
        yield* send(statements)
        assert.deepStrictEqual(yield* wrong, [], what)
        yield* send(drop)
      }
    }).pipe(fresh)
  )
})
