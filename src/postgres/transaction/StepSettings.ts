/**
 * The settings that a step is run with: none of the role's timeouts is ours, and the server notices soon that a client is gone. A setting that
 * the server does not have is left out, which SET LOCAL would fail for (42704).
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { OperationConfig } from "../../operation/OperationConfig.js"

/** Values by the names of settings. */
export type Values = Readonly<Record<string, string>>

/** The server's timeouts are 32-bit milliseconds; a longer one is none. */
const longestTimeout = 2_147_483_647

/** The settings of a step of this name, run by this host: only `seedTimeout` bounds it. */
export const of = ({ seedTimeout }: OperationConfig["Type"], host: string, name: string): Values => {
  const timeout = Option.match(seedTimeout, { onNone: () => 0, onSome: Duration.toMillis })
  return {
    application_name: applicationName(`${host} ${name}`),
    statement_timeout: `${timeout > longestTimeout ? 0 : Math.ceil(timeout)}`,
    lock_timeout: "0",
    idle_session_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    transaction_timeout: "0",
    // The server notices within this many milliseconds that a client was killed in the middle of a statement, and frees the lock.
    client_connection_check_interval: "500"
  }
}

/** The statement that sets what the server knows of these until the transaction ends. */
export const setForTransaction = (settings: Values): string => set(settings, true)

/** The statement that sets what the server knows of these for the session. */
export const setForSession = (settings: Values): string => set(settings, false)

/** The statement that puts back what the session began with: the role's, the database's and the connection's own. */
export const resetForSession = (settings: Values): string =>
  `SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN (${Object.keys(settings)
    .map((name) => `'${name}'`)
    .join(", ")})`

/** Where the system cannot tell a server that a connection was closed, the setting is refused (22023). */
const noticesClosedConnections =
  "version() ~* 'linux|emscripten' OR (current_setting('server_version_num')::integer >= 150000 AND version() !~* 'mingw|visual c|windows')"

const set = (settings: Values, local: boolean): string => {
  const values = Object.entries(settings).map(([name, value]) => `('${name}', '${value}')`)
  return `SELECT set_config(s.name, s.value, ${local}) FROM (VALUES ${values.join(", ")}) AS s (name, value)
    WHERE current_setting(s.name, true) IS NOT NULL AND (s.name <> 'client_connection_check_interval' OR ${noticesClosedConnections})`
}

/** Text that needs no quoting in a literal; PostgreSQL keeps 63 characters of printable ASCII. */
const applicationName = (name: string): string => `es-ops ${name}`.slice(0, 63).replaceAll(/[^\x20-\x7E]|['\\]/g, "?")
