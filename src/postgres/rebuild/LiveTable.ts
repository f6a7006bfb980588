/**
 * A read table as the catalog has it: its columns, what tells whether it is the same as before, and what hangs on it.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Table } from "../../event/Table.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { literal, quote } from "../client/SqlText.js"

const Names = Schema.Array(Schema.String)

const Found = Schema.Struct({
  /** Quoted, with its schema. */
  name: Schema.String,
  schema: Schema.String,
  kind: Schema.String,
  isPlain: Schema.Boolean,
  isMine: Schema.Boolean,
  owner: Schema.String,
  bytes: Schema.Number,
  rows: Schema.Number,
  hasPolicy: Schema.Boolean,
  isWritable: Schema.Boolean,
  columns: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      type: Schema.String,
      isRequired: Schema.Boolean,
      hasDefault: Schema.Boolean,
      isGenerated: Schema.Boolean,
      identity: Schema.String
    })
  ),
  /** The columns of each unique index that is good for telling rows apart. */
  keys: Schema.Array(Names),
  uniques: Schema.Number,
  triggers: Names,
  rules: Names,
  /** Foreign keys of other tables that point here: the table, its columns and ours. */
  referrers: Schema.Array(Schema.Struct({ name: Schema.String, table: Schema.String, columns: Names, ours: Names })),
  /** What would stay with the table that a swap replaces. */
  hanging: Names,
  shape: Schema.String
})

export interface LiveTable extends Schema.Schema.Type<typeof Found> {
  readonly table: Table
}

const Row = Schema.Struct({ found: Schema.parseJson(Found) })

/** The table that the search path finds, if it is there. */
export const find = (sql: SqlClient.SqlClient, table: Table): Effect.Effect<Option.Option<LiveTable>, DatabaseError> =>
  sql.unsafe(text(table)).pipe(
    rows("looking at a read table", Row),
    Effect.map(([row]) => Option.map(Option.fromNullable(row), ({ found }) => ({ ...found, table })))
  )

/** What tells whether the table that the search path finds is the same as before; none where there is none. A short look, for under its lock. */
export const shapeOf = (sql: SqlClient.SqlClient, { name }: Table): Effect.Effect<string | undefined, DatabaseError> =>
  sql.unsafe(`SELECT ${shape} AS shape FROM pg_class c WHERE c.oid = to_regclass(${literal(quote(name))})`).pipe(
    rows("looking at a read table", Schema.Struct({ shape: Schema.String })),
    Effect.map(([found]) => found?.shape)
  )

const list = (select: string): string =>
  `coalesce((SELECT json_agg(x ORDER BY x::text) FROM (${select}) AS t (x)), '[]')`

const columnsOf = (numbers: string, relation: string): string =>
  `(SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(${numbers}) WITH ORDINALITY AS k (num, n)
      JOIN pg_attribute a ON a.attrelid = ${relation} AND a.attnum = k.num)`

const text = ({ name }: Table): string => `SELECT json_build_object(
  'name', format('%I.%I', n.nspname, c.relname), 'schema', n.nspname, 'kind', c.relkind,
  'isPlain', c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
  'isMine', c.relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user), 'owner', pg_get_userbyid(c.relowner),
  'bytes', pg_total_relation_size(c.oid), 'rows', greatest(c.reltuples, 0), 'hasPolicy', row_security_active(c.oid),
  'isWritable', has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
    AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'),
  'columns', coalesce((SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
      'isRequired', a.attnotnull, 'hasDefault', a.atthasdef AND a.attgenerated = '', 'isGenerated', a.attgenerated <> '',
      'identity', a.attidentity) ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'keys', ${list(`SELECT ${columnsOf("i.indkey::smallint[]", "i.indrelid")} FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique
    AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = i.indnatts`)},
  'uniques', (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND NOT i.indisprimary),
  'triggers', ${list("SELECT t.tgname::text FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'")},
  'rules', ${list("SELECT r.rulename::text FROM pg_rewrite r WHERE r.ev_class = c.oid")},
  'referrers', ${list(`SELECT json_build_object('name', f.conname, 'table', f.conrelid::regclass::text,
      'columns', ${columnsOf("f.conkey", "f.conrelid")}, 'ours', ${columnsOf("f.confkey", "f.confrelid")})
    FROM pg_constraint f WHERE f.confrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0`)},
  'hanging', ${list(hanging)},
  'shape', ${shape}
)::text AS found
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(${literal(quote(name))})`

/**
 * Views, functions and the like depend on the table, its columns or its row type; the rest stands in catalogs of its own. In PostgreSQL 14 a
 * generated column makes the table depend on itself.
 */
const hanging = `SELECT DISTINCT what FROM (
    SELECT CASE WHEN d.classid = 'pg_rewrite'::regclass
        THEN (SELECT 'view ' || r.ev_class::regclass::text FROM pg_rewrite r WHERE r.oid = d.objid AND r.ev_class <> c.oid)
        ELSE pg_describe_object(d.classid, d.objid, 0) END
    FROM pg_depend d WHERE d.deptype <> 'i' AND (d.refclassid, d.refobjid) IN (('pg_class'::regclass, c.oid),
        ('pg_type'::regclass, c.reltype), ('pg_type'::regclass, (SELECT typarray FROM pg_type WHERE oid = c.reltype)))
      AND d.classid NOT IN ('pg_attrdef'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_statistic_ext'::regclass)
      AND NOT (d.classid = 'pg_constraint'::regclass) AND NOT (d.classid = 'pg_class'::regclass AND d.objid = c.oid)
      AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class o WHERE o.oid = d.objid AND o.relkind IN ('i', 'S', 't', 'I')))
      AND NOT (d.classid = 'pg_rewrite'::regclass AND EXISTS (SELECT FROM pg_rewrite r WHERE r.oid = d.objid AND r.ev_class = c.oid))
      AND NOT (d.classid = 'pg_type'::regclass AND d.objid IN (c.reltype, (SELECT typarray FROM pg_type WHERE oid = c.reltype)))
    UNION ALL SELECT 'rule ' || r.rulename FROM pg_rewrite r WHERE r.ev_class = c.oid
    UNION ALL SELECT 'trigger ' || t.tgname FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
    UNION ALL SELECT 'policy ' || p.polname FROM pg_policy p WHERE p.polrelid = c.oid
    UNION ALL SELECT 'row level security' WHERE c.relrowsecurity OR c.relforcerowsecurity
    UNION ALL SELECT 'publication ' || p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = c.oid
    UNION ALL SELECT 'foreign key ' || f.conname || ' of ' || f.conrelid::regclass::text FROM pg_constraint f
      WHERE c.oid IN (f.conrelid, f.confrelid) AND f.contype = 'f'
    UNION ALL SELECT 'grant of ' || pg_get_userbyid(g.grantor) || ' to ' || coalesce(nullif(pg_get_userbyid(g.grantee), 'unknown (OID=0)'), 'PUBLIC')
      FROM aclexplode(c.relacl) g WHERE g.grantor <> c.relowner
    UNION ALL SELECT 'grant on column ' || a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL SELECT 'owner ' || pg_get_userbyid(c.relowner) WHERE c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
  ) AS h (what) WHERE what IS NOT NULL`

/** Of its columns, indexes and constraints. */
const shape = `md5(concat_ws('|',
  (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation::text, a.attnotnull::text, a.attidentity,
      a.attgenerated, pg_get_expr(d.adbin, d.adrelid)), ',' ORDER BY a.attnum)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT string_agg(pg_get_indexdef(i.indexrelid) || i.indisvalid::text, ',' ORDER BY pg_get_indexdef(i.indexrelid))
    FROM pg_index i WHERE i.indrelid = c.oid),
  (SELECT string_agg(f.conname || ' ' || pg_get_constraintdef(f.oid), ',' ORDER BY f.conname)
    FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype IN ('c', 'x'))))`
