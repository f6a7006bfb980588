/**
 * The sequence that numbers events, and what keeps it from telling below which id nothing comes any more.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"

/** The events table with its partitions, and whatever inherits from it otherwise. */
export const tree = `tree (oid) AS (SELECT to_regclass('kumiko_events')::oid
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent)`

const Flag = Schema.Literal("t", "f")

/** A sequence that a default or the identity of the column depends on. */
const Row = Schema.Struct({
  name: Schema.String,
  is_plain: Flag,
  ascends: Flag,
  cycles: Flag,
  cache: Schema.String,
  is_readable: Flag,
  last: Schema.NullOr(Schema.BigInt),
  greatest: Schema.BigInt
})

/** What is known of the sequence of the ids. */
export type Found = { readonly last: bigint } | { readonly problem: string }

/**
 * Asks for the last id that was given: 0 where none was yet. The statement sees no event of a later id than the sequence has, as it takes its
 * snapshot first.
 */
export const look = (sql: SqlClient.SqlClient): Effect.Effect<Found, DatabaseError> =>
  Effect.map(sql.unsafe(text).pipe(rows("looking at the sequence of the events", Row)), (found): Found => {
    const [first, other] = found
    if (first === undefined) return { problem: "no sequence gives them" }
    if (other !== undefined) return { problem: `more than one sequence gives them: ${first.name} and ${other.name}` }
    const problem = problemOf(first)
    return problem === undefined ? { last: first.last ?? 0n } : { problem }
  })

const problemOf = (row: typeof Row.Type): string | undefined => {
  if (row.is_plain === "f") return `their default does more than to take the next value of ${row.name}`
  if (row.ascends === "f") return `the sequence ${row.name} descends`
  if (row.cycles === "t") return `the sequence ${row.name} begins again when it is through (CYCLE)`
  if (row.cache !== "1") return `each session takes ${row.cache} of ${row.name} at a time (CACHE): it needs CACHE 1`
  if (row.is_readable === "f")
    return `this role may not read the sequence ${row.name}: GRANT USAGE ON SEQUENCE ${row.name}`
  return (row.last ?? 0n) < row.greatest
    ? `event ${row.greatest} is above the sequence ${row.name}, which is at ${row.last ?? 0n}: set it (setval), or the events were not written here`
    : undefined
}

/** A sequence that may not be read answers with NULL, as one that has given nothing does (PostgreSQL 17): that is asked for by itself. */
const text = `WITH RECURSIVE ${tree}, numbered AS (
    SELECT a.attrelid, a.attnum, d.oid AS default_oid, pg_get_expr(d.adbin, d.adrelid) AS given
    FROM tree JOIN pg_attribute a ON a.attrelid = tree.oid AND a.attname = 'id' AND NOT a.attisdropped
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  ), used AS (
    SELECT s.seqrelid, bool_and(n.given IS NULL OR n.given ~ '^nextval\\(''.*''::regclass\\)$') AS is_plain
    FROM numbered n JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.classid = 'pg_attrdef'::regclass AND p.objid = n.default_oid
        OR p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass AND p.refobjid = n.attrelid AND p.refobjsubid = n.attnum AND p.deptype = 'i'
      JOIN pg_sequence s ON s.seqrelid = CASE WHEN p.deptype = 'i' THEN p.objid ELSE p.refobjid END
    GROUP BY s.seqrelid
  )
  SELECT s.seqrelid::regclass::text AS name, CASE WHEN u.is_plain THEN 't' ELSE 'f' END AS is_plain,
    CASE WHEN s.seqincrement > 0 THEN 't' ELSE 'f' END AS ascends, CASE WHEN s.seqcycle THEN 't' ELSE 'f' END AS cycles,
    s.seqcache::text AS cache, CASE WHEN r.is_readable THEN 't' ELSE 'f' END AS is_readable,
    CASE WHEN r.is_readable THEN pg_sequence_last_value(s.seqrelid)::text END AS last,
    coalesce((SELECT max(id) FROM kumiko_events), 0)::text AS greatest
  FROM used u JOIN pg_sequence s ON s.seqrelid = u.seqrelid
    CROSS JOIN LATERAL (SELECT has_sequence_privilege(s.seqrelid, 'USAGE') OR has_sequence_privilege(s.seqrelid, 'SELECT') AS is_readable) AS r
  ORDER BY 1`
