/**
 * Embedded databases in memory, for tests: opening one takes seconds, so one that is given back is emptied and lent again.
 */
import type { PGlite } from "@electric-sql/pglite"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { once } from "node:events"
import { PgliteStream } from "./PgliteStream.js"

/** A database in memory, for one scope at a time. */
export interface Lent {
  /** A new wire to it. */
  readonly stream: () => PgliteStream
}

/** Databases that nobody has: they are empty. */
const idle: Array<{ readonly database: PGlite; readonly fresh: string }> = []

/** Lends an empty database until the scope is closed; `open` opens one where none is idle. */
export const lend = <E>(open: Effect.Effect<PGlite, E>): Effect.Effect<Lent, E, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const known = idle.pop()
      const database = known?.database ?? (yield* open)
      const fresh = known?.fresh ?? (yield* Effect.promise(() => outside(database)))
      const streams: Array<PgliteStream> = []
      const stream = () => {
        const wire = new PgliteStream(database)
        streams.push(wire)
        return wire
      }
      return { database, fresh, stream, streams }
    }),
    ({ database, fresh, streams }) =>
      Effect.promise(async () => {
        // A wire that is closed rolls back, which must not hit whoever has the database next.
        await Promise.all(streams.filter(({ closed }) => !closed).map((wire) => once(wire.destroy(), "close")))
        const isEmpty = await empty(database).then(
          async () => (await outside(database)) === fresh,
          () => false
        )
        if (isEmpty) idle.push({ database, fresh })
        else await database.close()
      })
  )

/** Drops what a test may leave in the database and its one session. */
const empty = async (database: PGlite): Promise<void> => {
  await database.exec("ROLLBACK")
  await database.exec("DISCARD ALL")
  await database.exec(`DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
      EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
  END $$`)
}

/** What is outside every schema, such as roles: a database that has more of it than a new one is not lent again. */
const outside = async (database: PGlite): Promise<string> => {
  const { rows } = await database.query(`SELECT (SELECT count(*) FROM pg_roles) AS roles,
    (SELECT count(*) FROM pg_database) AS databases, (SELECT count(*) FROM pg_db_role_setting) AS settings,
    (SELECT count(*) FROM pg_auth_members) AS members, (SELECT count(*) FROM pg_extension) AS extensions,
    (SELECT count(*) FROM pg_event_trigger) AS triggers, (SELECT count(*) FROM pg_publication) AS publications,
    (SELECT count(*) FROM pg_largeobject_metadata) AS objects, (SELECT count(*) FROM pg_default_acl) AS defaults,
    (SELECT count(*) FROM pg_foreign_data_wrapper) AS wrappers, (SELECT count(*) FROM pg_cast) AS casts,
    (SELECT count(*) FROM pg_language) AS languages, (SELECT count(*) FROM pg_prepared_xacts) AS prepared`)
  return rows.map((row) => Object.values(Object(row)).join(" ")).join()
}
