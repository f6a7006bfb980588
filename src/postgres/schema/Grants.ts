/**
 * The privileges that a role needs to apply seeds and to run long operations on tables that are there. Pure.
 */
import { literal, quote } from "../client/SqlText.js"
import type { PgTable } from "./PgTable.js"

/** The statements that give a role what it needs, and no more; tables of no schema are taken to be in `public`. */
export const grants = (tables: ReadonlyArray<PgTable>, role: string): ReadonlyArray<string> => {
  const to = toRole(role)
  const schemas = new Set(tables.map(({ schema = "public" }) => quote(schema)))
  return [
    ...[...schemas].map((schema) => `GRANT USAGE ON SCHEMA ${schema} ${to}`),
    ...tables.map((table) => `GRANT ${["SELECT", ...rightsOn(table)].join(", ")} ON ${table.name} ${to}`),
    ...tables.flatMap(({ sequence }) =>
      sequence === undefined ? [] : [`GRANT USAGE ON SEQUENCE ${quote(sequence)} ${to}`]
    )
  ]
}

/** What a body may do there besides, such as archive a stream or let a projection remove rows, and what other commands do. */
const rightsOn = ({ changes = [], isOwned, optional, writes }: PgTable): ReadonlyArray<string> => {
  if (isOwned) return ["INSERT", "UPDATE", "DELETE"]
  // The end of an attempt outside any transaction is an update.
  if (optional) return ["INSERT", "UPDATE"]
  return [...(writes.length === 0 ? ["INSERT"] : writes), ...changes]
}

const toRole = (role: string): string => `TO "${role.replaceAll('"', '""')}"`

/** The tables of the system that we are drop-in for, which moves and purges change where they are there, and what they do with them. */
const others = [
  ["kumiko_event_consumers", "SELECT, UPDATE"],
  ["kumiko_snapshots", "SELECT, DELETE"],
  ["kumiko_rebuild_dead_letters", "SELECT, DELETE"],
  ["kumiko_upcaster_dead_letters", "SELECT, DELETE"]
] as const

/** The statement that gives a role what it needs on those of them that the search path finds. */
export const elsewhere = (role: string): string =>
  `DO ${literal(`DECLARE t record; BEGIN
  FOR t IN SELECT * FROM (VALUES ${others.map(([table, rights]) => `(${literal(table)}, ${literal(rights)})`).join(", ")}) AS v (name, rights)
      WHERE to_regclass(v.name) IS NOT NULL LOOP
    EXECUTE concat('GRANT ', t.rights, ' ON ', to_regclass(t.name), ${literal(` ${toRole(role)}`)});
  END LOOP;
END`)}`
