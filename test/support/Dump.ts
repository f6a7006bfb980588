/**
 * What stands in a database: every row of every table, to be compared before and after something that is to write nothing.
 */

/** The rows of all tables but some, as texts. */
export const of = async (
  query: (text: string) => Promise<ReadonlyArray<Record<string, unknown>>>,
  except: ReadonlyArray<string> = []
): Promise<ReadonlyArray<Record<string, unknown>>> => {
  const tables = await query(
    "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
  )
  const parts = tables
    .map(({ name }) => String(name))
    .filter((name) => !except.includes(name))
    .map((name) => `SELECT '${name}' AS name, array_agg(t::text ORDER BY t::text) AS rows FROM "${name}" t`)
  return query(`${parts.join(" UNION ALL ")} ORDER BY 1`)
}
