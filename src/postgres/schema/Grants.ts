/**
 * The privileges that a role needs to apply seeds to tables that are there. Pure.
 */
import { quote } from "../client/SqlText.js"
import type { PgTable } from "./PgTable.js"

/** The statements that give a role what it needs, and no more; tables of no schema are taken to be in `public`. */
export const grants = (tables: ReadonlyArray<PgTable>, role: string): ReadonlyArray<string> => {
  const to = `TO "${role.replaceAll('"', '""')}"`
  const schemas = new Set(tables.map(({ schema = "public" }) => quote(schema)))
  return [
    ...[...schemas].map((schema) => `GRANT USAGE ON SCHEMA ${schema} ${to}`),
    ...tables.map((table) => `GRANT ${["SELECT", ...rightsOn(table)].join(", ")} ON ${table.name} ${to}`),
    ...tables.flatMap(({ sequence }) =>
      sequence === undefined ? [] : [`GRANT USAGE ON SEQUENCE ${quote(sequence)} ${to}`]
    )
  ]
}

/** What a body may do there besides: archive a stream, or let a projection remove rows. */
const rightsOn = ({ isOwned, optional, writes }: PgTable): ReadonlyArray<string> => {
  if (isOwned) return ["INSERT", "UPDATE", "DELETE"]
  // The end of an attempt outside any transaction is an update.
  if (optional) return ["INSERT", "UPDATE"]
  return writes.length === 0 ? ["INSERT"] : writes
}
