/**
 * The keys that functions have written in a shadow since it was compared: under the lock, only theirs are compared again. Pure.
 */
import { literal, quote } from "../client/SqlText.js"
import type { ShadowTable } from "./ShadowTable.js"
import { list } from "./ShadowTable.js"

/** What notes them from now on; none are noted yet. It can be run again. */
export const noting = (table: ShadowTable, comment: string): ReadonlyArray<string> => {
  const { keys, live, rows, touch, touched } = table
  const note = (row: string) => `INSERT INTO ${touched} SELECT ${list(keys, row)} ON CONFLICT DO NOTHING;`
  const body = `BEGIN IF TG_OP <> 'INSERT' THEN ${note("OLD")} END IF; IF TG_OP <> 'DELETE' THEN ${note("NEW")} END IF; RETURN NULL; END`
  return [
    `DROP TABLE IF EXISTS ${touched}`,
    `CREATE UNLOGGED TABLE ${touched} WITH (autovacuum_enabled = false) AS SELECT ${list(keys)} FROM ${live.name} WITH NO DATA`,
    `COMMENT ON TABLE ${touched} IS ${literal(comment)}`,
    `ALTER TABLE ${touched} ADD PRIMARY KEY (${list(keys)})`,
    `CREATE OR REPLACE FUNCTION ${touch}() RETURNS trigger LANGUAGE plpgsql AS ${literal(body)}`,
    `CREATE OR REPLACE TRIGGER es_ops_touch AFTER INSERT OR UPDATE OR DELETE ON ${rows} FOR EACH ROW EXECUTE FUNCTION ${touch}()`
  ]
}

/** The computed rows `s` and the live rows `l` of the keys that were noted. */
export const from = ({ live, rows, touched, keys }: ShadowTable): string => {
  const same = (a: string) => keys.map((name) => `${a}.${quote(name)} = t.${quote(name)}`).join(" AND ")
  return `${touched} t LEFT JOIN ${rows} s ON ${same("s")} LEFT JOIN ${live.name} l ON ${same("l")}`
}
