/**
 * The schema in which rebuilds compute rows beside the read tables.
 */
import { quote } from "../client/SqlText.js"

export const shadowSchema = "es_ops_shadow"

/** The statement that creates it, for an administrator: it can be run again. */
export const statement = `CREATE SCHEMA IF NOT EXISTS ${quote(shadowSchema)}`

/** The statement that lets a role compute there. */
export const grant = (role: string): string =>
  `GRANT USAGE, CREATE ON SCHEMA ${quote(shadowSchema)} TO "${role.replaceAll('"', '""')}"`
