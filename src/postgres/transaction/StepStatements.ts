/**
 * The statements that a step sends around its body: how its transaction is begun and guarded, and what is put back before it ends.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { randomUUID } from "node:crypto"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import * as StepName from "../../operation/StepName.js"
import * as ClientEncoding from "../client/ClientEncoding.js"
import type * as EncodedText from "../client/EncodedText.js"
import type { LateRows } from "../client/LateTriggers.js"
import * as LateTriggers from "../client/LateTriggers.js"
import { literal } from "../client/SqlText.js"
import * as TableLock from "../client/TableLock.js"

/** Values by the names of settings. */
export type Settings = Readonly<Record<string, string>>

/** The server's timeouts are 32-bit milliseconds; a longer one is none. */
const longestTimeout = 2_147_483_647

/** The settings of a step of this name, run by this host. None of the role's timeouts is ours: only `seedTimeout` bounds a step. */
export const settingsOf = ({ seedTimeout }: OperationConfig["Type"], host: string, name: string): Settings => {
  const timeout = Option.match(seedTimeout, { onNone: () => 0, onSome: Duration.toMillis })
  return {
    application_name: applicationName(host, name),
    statement_timeout: `${timeout > longestTimeout ? 0 : Math.ceil(timeout)}`,
    lock_timeout: "0",
    idle_session_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    transaction_timeout: "0",
    // The server notices within this many milliseconds that a client was killed in the middle of a statement, and frees the lock.
    client_connection_check_interval: "500"
  }
}

/** Bounds the wait for a table, in milliseconds. */
export const waitAtMost = (milliseconds: number): string => `SET LOCAL lock_timeout = ${milliseconds}`

/** Bounds it where another attempt is made, or nothing depends on it. */
export const waitBriefly = waitAtMost(TableLock.attemptPatience)

/** What the transaction of one step is begun and guarded with. */
export interface Opening {
  /** BEGIN, and the settings until the transaction ends. Roles and databases may have another isolation level as their default. */
  readonly begin: string
  readonly guard: CommitGuard
  /** The name of the savepoint behind the claim, which the body cannot know either. */
  readonly savepoint: string
  /** How long the record may wait for its tables, in milliseconds. */
  readonly waitBounded: number
  /** The columns by which the claim reads who the session is. */
  readonly identity: string
}

/** What is known of a server, of whichever of its sessions. */
export interface ServerKnowledge {
  /** Those of our settings that it has, once it was asked for them. */
  settings: Option.Option<ReadonlySet<string>>
  readonly encoding: EncodedText.Encoding
}

/** The opening of a step of this name, run by this host. */
export const opening = (
  config: OperationConfig["Type"],
  host: string,
  name: string,
  { settings }: Readonly<ServerKnowledge>,
  addresses: string
): Opening => ({
  identity: `${sessionColumns}, ${addresses}`,
  begin: `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ${setForStep(settingsOf(config, host, name), settings)}`,
  guard: commitGuard(),
  waitBounded: Math.min(
    longestTimeout,
    Math.max(TableLock.attemptPatience, Math.ceil(Duration.toMillis(config.lockTimeout)))
  ),
  savepoint: `es_ops_step_${randomUUID().replaceAll("-", "")}`
})

/** The text that sets these for the transaction: as SET LOCAL, which is not planned, once it is known what the server has. */
const setForStep = (settings: Settings, known: ServerKnowledge["settings"]): string =>
  Option.match(known, {
    onNone: () => set(settings, true),
    onSome: (names) =>
      Object.entries(settings)
        .filter(([name]) => names.has(name))
        .map(([name, value]) => `SET LOCAL ${name} = '${value}'`)
        .join("; ")
  })

/** The same for a session, whose transactions are begun by its body: that they write is for us to say, as it is in BEGIN. */
export const sessionSettings = (settings: Settings): Settings => ({ ...settings, default_transaction_read_only: "off" })

/** The statement that sets these for the transaction, whatever the server has of them. */
export const setForTransaction = (settings: Settings): string => set(settings, true)

/** The statement that sets these for the session. */
export const setForSession = (settings: Settings): string => set(settings, false)

/** The statement that puts back what the session began with: the role's, the database's and the connection's own. */
export const resetForSession = (settings: Settings): string =>
  `SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN (${Object.keys(settings).map(literal).join(", ")})`

/** Where the system cannot tell a server that a connection was closed, the setting is refused (22023). */
const noticesClosedConnections =
  "version() ~* 'linux|emscripten' OR (current_setting('server_version_num')::integer >= 150000 AND version() !~* 'mingw|visual c|windows')"

/** A setting that the server does not have is left out, which SET LOCAL would fail for (42704). */
const set = (settings: Settings, local: boolean): string => {
  const values = Object.entries(settings).map(([name, value]) => `('${name}', '${value}')`)
  return `SELECT s.name, set_config(s.name, s.value, ${local}) FROM (VALUES ${values.join(", ")}) AS s (name, value)
    WHERE current_setting(s.name, true) IS NOT NULL AND (s.name <> 'client_connection_check_interval' OR ${noticesClosedConnections})`
}

/** The names of the settings that this statement has set. */
export const settingsSet = (rows: ReadonlyArray<unknown>): ReadonlySet<string> =>
  new Set(rows.flatMap((row) => (Predicate.hasProperty(row, "name") && Predicate.isString(row.name) ? [row.name] : [])))

/** Text that needs no quoting in a literal. Where there is not room for both, the host's name is cut before that of the step. */
const applicationName = (host: string, name: string): string => {
  const room = StepName.longest - "es-ops  ".length - name.length
  return `es-ops ${host.slice(0, Math.max(room, StepName.shortestHost))} ${name}`
    .slice(0, StepName.longest)
    .replaceAll(StepName.unprintable, "?")
}

/** The statement that gives a row where there is a table of this quoted name. */
export const exists = (table: string): string => `SELECT 1 AS found WHERE to_regclass(${literal(table)}) IS NOT NULL`

/** invalid_savepoint_specification: there is none of this name. */
export const noSavepoint = "3B001"

/** The cursor by which an end of the transaction that is not ours is found out. */
export interface CommitGuard {
  /** Declares it, behind the claim. */
  readonly declare: string
  /** Closes it: fails with `noCursor` where the body ended the transaction, or where it is closed already. */
  readonly close: string
}

/** invalid_cursor_name: there is none of this name. */
export const noCursor = "34000"

/** What its name begins with. */
export const guardPrefix = "es_ops_guard_"

/**
 * A holdable cursor is computed at COMMIT, and this one cannot be: a COMMIT that is not ours fails (22012) and takes everything with it. After
 * a ROLLBACK that is not ours the cursor is gone (34000). Its name is one that the body cannot know, as a body that closed it could commit.
 */
const commitGuard = (): CommitGuard => {
  const name = `${guardPrefix}${randomUUID().replaceAll("-", "")}`
  return {
    declare: `DECLARE ${name} CURSOR WITH HOLD FOR SELECT 1/(random()*0)::int`,
    close: `CLOSE ${name}`
  }
}

/** Who the session is, and where it finds tables: both decide where rows go. */
export interface SessionIdentity {
  readonly search_path: string
  readonly role: string
  readonly session_user: string
  readonly addresses: string
}

/** The part of its columns that is the session's; `PgSchema.addresses` is the other. */
export const sessionColumns =
  "current_setting('search_path') AS search_path, current_setting('role') AS role, session_user::text AS session_user"

/** Whether a row has these columns. */
export const isIdentity = (row: unknown): row is SessionIdentity =>
  Predicate.hasProperty(row, "search_path") &&
  Predicate.isString(row.search_path) &&
  Predicate.hasProperty(row, "role") &&
  Predicate.isString(row.role) &&
  Predicate.hasProperty(row, "session_user") &&
  Predicate.isString(row.session_user) &&
  Predicate.hasProperty(row, "addresses") &&
  Predicate.isString(row.addresses)

/** The tables that were found, by the names that were looked for: each with its schema, so that nothing else is found in its place. */
export const tablesFound = (
  names: ReadonlyArray<string>,
  addresses: string
): ReadonlyArray<readonly [string, string]> => {
  const found: unknown = JSON.parse(addresses)
  return names.flatMap((name, at): ReadonlyArray<readonly [string, string]> => {
    const address: unknown = Array.isArray(found) ? found[at] : null
    return Array.isArray(address) && address.every(Predicate.isString)
      ? [[name, address.map((part) => `"${part.replaceAll('"', '""')}"`).join(".")]]
      : []
  })
}

/**
 * The text that puts it back, for the session as well, where a plain SET would outlive the transaction. It fails where what was sent was taken
 * for another encoding.
 */
export const resetIdentity = ({
  role,
  search_path,
  session_user
}: Pick<SessionIdentity, "search_path" | "role" | "session_user">): string => {
  const [path, user, who] = [search_path, session_user, role].map(literal)
  // The session user comes before the role, as setting it sets the role to none.
  return `SELECT pg_catalog.set_config('search_path', ${path}, false), pg_catalog.set_config('session_authorization', ${user}, false), pg_catalog.set_config('role', ${who}, false), ${ClientEncoding.refused} AS encoding`
}

/**
 * What a body leaves in its session besides: a temporary table would be found before every other, by the next body as well. One that a cursor
 * reads cannot be dropped. Behind the guard, which is a cursor too.
 */
export const discard = "CLOSE ALL; DISCARD TEMP"

/** What is sent before marker and attempt: deferred constraints fail before the guard is closed, which tells their failures from those behind it. */
export const ending = (
  guard: CommitGuard,
  identity: Option.Option<SessionIdentity>,
  late: ReadonlyMap<string, LateRows>
): ReadonlyArray<string> => {
  const fired = late.size === 0 ? [] : firing(late)
  if (Option.isNone(identity)) return fired
  return [
    resetIdentity(identity.value),
    ...(late.size === 0 ? ["SET CONSTRAINTS ALL IMMEDIATE"] : fired),
    guard.close,
    discard
  ]
}

const firing = (late: ReadonlyMap<string, LateRows>): ReadonlyArray<string> => {
  const { after, before } = LateTriggers.around(late)
  return [...before, "SET CONSTRAINTS ALL IMMEDIATE", ...after]
}
