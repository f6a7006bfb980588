/**
 * The system that we are drop-in for, as its database and its protocol are documented: tables as it creates them, and a runner of seeds in
 * plain SQL.
 */

/** Its own tables. */
export const tables = `
CREATE TABLE kumiko_es_operations (
  id text PRIMARY KEY, operation_type text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),
  duration_ms integer NOT NULL, applied_by text NOT NULL, notes text);
CREATE INDEX kumiko_es_operations_type_idx ON kumiko_es_operations (operation_type);
CREATE TABLE kumiko_events (
  id bigserial PRIMARY KEY, aggregate_id uuid NOT NULL, aggregate_type text NOT NULL, tenant_id uuid NOT NULL,
  version integer NOT NULL, type text NOT NULL, event_version integer NOT NULL DEFAULT 1,
  payload jsonb NOT NULL, metadata jsonb NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT now(), created_by text NOT NULL);
CREATE UNIQUE INDEX events_aggregate_version_uq ON kumiko_events (tenant_id, aggregate_id, version);
CREATE INDEX events_load_idx ON kumiko_events (aggregate_id, version);
CREATE INDEX events_tenant_type_idx ON kumiko_events (tenant_id, aggregate_type, created_at);
CREATE TABLE kumiko_archived_streams (
  tenant_id uuid NOT NULL, aggregate_id uuid NOT NULL, aggregate_type text NOT NULL,
  archived_at timestamp(3) with time zone NOT NULL DEFAULT now(), archived_by text NOT NULL, reason text);
CREATE UNIQUE INDEX kumiko_archived_streams_pk ON kumiko_archived_streams (tenant_id, aggregate_id);
`

/** Without it on old databases; left INVALID on others. */
export const idempotencyIndex = `CREATE UNIQUE INDEX events_idempotency_uq ON kumiko_events (tenant_id, ((metadata->>'idempotencyKey')))
  WHERE (metadata->>'idempotencyKey') IS NOT NULL`

/** Read tables of an application, with more than the finders need. */
export const readTables = `
CREATE TABLE read_tenants (id uuid PRIMARY KEY, name text NOT NULL, key varchar(50) NOT NULL UNIQUE,
  inserted_at timestamptz NOT NULL DEFAULT now(), plan text NOT NULL DEFAULT 'free', settings jsonb);
CREATE TABLE read_users (id uuid PRIMARY KEY, email text NOT NULL, tenant_id uuid NOT NULL, display_name text, last_seen timestamptz);
CREATE INDEX read_users_email_idx ON read_users (lower(email));
CREATE TABLE read_tenant_memberships (id uuid PRIMARY KEY, user_id text NOT NULL, tenant_id uuid NOT NULL, roles text, invited_by text);
`

/** Everything that the catalog says of a schema's tables of the reference: columns, indexes, constraints, privileges, policies, triggers. */
export const dump = `
SELECT 'column' AS what, c.relname::text AS of, a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
    || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' ' || coalesce(a.attacl::text, '') AS is
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relname ~ '^(kumiko|read_)' AND c.relkind = 'r'
UNION ALL SELECT 'table', relname, relowner::regrole || ' ' || coalesce(relacl::text, '') || ' ' || relrowsecurity || ' ' || relforcerowsecurity
  FROM pg_class WHERE relname ~ '^(kumiko|read_)' AND relkind IN ('r', 'S')
UNION ALL SELECT 'index', i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid) || ' ' || i.indisvalid
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname ~ '^(kumiko|read_)'
UNION ALL SELECT 'constraint', n.conrelid::regclass::text, n.conname || ' ' || pg_get_constraintdef(n.oid)
  FROM pg_constraint n JOIN pg_class c ON c.oid = n.conrelid WHERE c.relname ~ '^(kumiko|read_)'
UNION ALL SELECT 'policy', p.polrelid::regclass::text, p.polname || ' ' || pg_get_expr(p.polqual, p.polrelid) FROM pg_policy p
UNION ALL SELECT 'trigger', t.tgrelid::regclass::text, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  WHERE c.relname ~ '^(kumiko|read_)'
ORDER BY 1, 2, 3`

/**
 * A replica of it as a program: for each seed the lock, the re-check, the body and the marker in one transaction. It creates its marker table
 * without the lock, and looks again when that fails. Arguments: the ids of the seeds.
 */
export const replica = `
import { Client } from "pg"
const client = new Client({ connectionString: process.env.DATABASE_URL, application_name: "reference" })
client.on("error", () => process.exit(9))
await client.connect()
const applied = []
// The gate, which whoever starts a race holds shut.
await client.query("SELECT pg_advisory_lock_shared(42), pg_advisory_unlock_shared(42)")
for (let tries = 0; ; tries++) {
  try {
    await client.query(\`CREATE TABLE IF NOT EXISTS kumiko_es_operations (
      id text PRIMARY KEY, operation_type text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),
      duration_ms integer NOT NULL, applied_by text NOT NULL, notes text);
      CREATE INDEX IF NOT EXISTS kumiko_es_operations_type_idx ON kumiko_es_operations (operation_type)\`)
    break
  } catch (error) {
    if (tries === 50 || !["23505", "42P07", "42710"].includes(error.code)) throw error
  }
}
for (const id of process.argv.slice(2)) {
  await client.query("BEGIN")
  await client.query("SELECT pg_advisory_xact_lock(1702063984)")
  const { rowCount } = await client.query("SELECT 1 FROM kumiko_es_operations WHERE id = $1", [id])
  if (rowCount === 0) {
    await client.query("INSERT INTO ledger (seed, by) VALUES ($1, 'reference')", [id])
    await client.query("SELECT pg_sleep(0.01)")
    await client.query("INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by, notes) VALUES ($1, 'seed-migration', 10, 'boot', 'by the reference')", [id])
    applied.push(id)
  }
  await client.query("COMMIT")
  // A replica boots: it does other things between two seeds.
  await new Promise((resolve) => setTimeout(resolve, 20))
}
await client.end()
console.log(JSON.stringify(applied))
`

/**
 * A boot of it over the files of `seeds/`: a seed is any object with a text `description` and a function `run`, what `run` gives is awaited, and
 * then the marker is written. An error ends the boot. Its handlers write a row to `ledger`.
 */
export const boot = `
import { readdir } from "node:fs/promises"
import { Client } from "pg"
const client = new Client({ connectionString: process.env.DATABASE_URL, application_name: "reference" })
await client.connect()
const context = {
  systemWriteAs: async (handler, payload) => {
    await client.query("INSERT INTO ledger (seed, by) VALUES ($1, 'reference')", [payload.key])
    return { isSuccess: true, data: { id: payload.key } }
  },
  findUserByEmail: async () => null,
  findMembershipsOfUser: async () => [],
  findTenants: async () => [],
  db: {}
}
const applied = []
try {
  for (const file of (await readdir("seeds")).sort()) {
    const id = file.replace(/\\.[^.]+$/, "")
    const { default: seed } = await import(new URL("seeds/" + file, import.meta.url))
    if (seed === null || typeof seed !== "object" || typeof seed.description !== "string" || typeof seed.run !== "function")
      throw new Error(id + ": no seed")
    await client.query("BEGIN")
    await client.query("SELECT pg_advisory_xact_lock(1702063984)")
    const { rowCount } = await client.query("SELECT 1 FROM kumiko_es_operations WHERE id = $1", [id])
    if (rowCount === 0) {
      await seed.run(context)
      await client.query("INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by, notes) VALUES ($1, 'seed-migration', 1, 'boot', $2)", [id, seed.description])
      applied.push(id)
    }
    await client.query("COMMIT")
  }
} catch (error) {
  console.error(String(error))
  process.exitCode = 1
} finally {
  await client.end()
}
console.log(JSON.stringify(applied))
`
