/**
 * The errors around an operation, one class for each decision that a caller can take.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** The session that holds the operations lock, as far as the role may see it. */
export class LockHolder extends Schema.Class<LockHolder>("effect-es-ops/LockHolder")({
  pid: Schema.Number,
  applicationName: Schema.String,
  /** Start of the holder's transaction, ISO 8601; roles without `pg_read_all_stats` do not see it. */
  since: Schema.Option(Schema.String)
}) {
  override toString(): string {
    const since = Option.match(this.since, { onNone: () => "", onSome: (at) => ` since ${at}` })
    return `server process ${this.pid}${this.applicationName === "" ? "" : ` (${this.applicationName})`}${since}`
  }
}

/** One attempt at the lock found it taken. The runner retries it by its schedule. */
export class LockHeld extends Schema.TaggedError<LockHeld>()("LockHeld", {
  id: Schema.String,
  holder: Schema.Option(LockHolder),
  /** The table that is locked, where it is not the operations lock. */
  table: Schema.optional(Schema.String)
}) {
  override get message(): string {
    return this.table === undefined
      ? `the operations lock is held by ${describeHolder(this.holder)}`
      : `the table ${this.table} is locked by ${describeHolder(this.holder)}`
  }
}

/** The marker is there already. */
export class AlreadyApplied extends Schema.TaggedError<AlreadyApplied>()("AlreadyApplied", { id: Schema.String }) {
  override get message(): string {
    return `"${this.id}" is applied already`
  }
}

/** The lock, or a table of ours that another session has locked, stayed taken for longer than `lockTimeout`. */
export class LockTimeout extends Schema.TaggedError<LockTimeout>()("LockTimeout", {
  /** The operation that waited; null where no single one did, as when markers are read. */
  id: Schema.NullOr(Schema.String),
  holder: Schema.Option(LockHolder),
  waitedMs: Schema.Number,
  /** The table that is locked, where it is not the operations lock. */
  table: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const [who, what] = [
      this.id === null ? "" : `"${this.id}" `,
      this.table === undefined ? "the operations lock, which is held by" : `the table ${this.table}, which is locked by`
    ]
    return `${who}waited ${this.waitedMs} ms for ${what} ${describeHolder(this.holder)}. Wait for it to finish, or give --lock-timeout (lockTimeout) a longer duration.`
  }
}

/** What is known of a `DatabaseError` besides what was done and why it failed. */
export interface DatabaseErrorDetails {
  readonly id?: Option.Option<string>
  readonly code?: Option.Option<string>
  readonly connectionLost?: boolean
  readonly cause?: unknown
}

/** The database could not be reached, refused a statement of ours, or was lost. */
export class DatabaseError extends Schema.TaggedError<DatabaseError>()("DatabaseError", {
  /** What we were doing, as a phrase: "reading the markers". */
  action: Schema.String,
  /** The operation that was under way, where there was one. */
  id: Schema.Option(Schema.String),
  /** The SQLSTATE, or the operating system's code (`ECONNREFUSED`). */
  code: Schema.Option(Schema.String),
  reason: Schema.String,
  /** The connection is gone: whether it was lost or never there. */
  connectionLost: Schema.Boolean,
  cause: Schema.Defect
}) {
  override get message(): string {
    const seed = Option.match(this.id, { onNone: () => "", onSome: (id) => ` (seed "${id}")` })
    const code = Option.match(this.code, { onNone: () => "", onSome: (code) => ` [${code}]` })
    return `${this.action}${seed} failed${code}: ${this.reason}`
  }

  /** A failure of something other than a statement: `reason` says what, and nothing was lost. */
  static because(action: string, reason: string, more: DatabaseErrorDetails = {}): DatabaseError {
    return new DatabaseError({
      action,
      id: Option.none(),
      code: Option.none(),
      reason,
      connectionLost: false,
      cause: undefined,
      ...more
    })
  }

  /** The same failure, with more to its reason. */
  adding(more: string): DatabaseError {
    return more === "" ? this : new DatabaseError({ ...this, cause: this.cause, reason: `${this.reason} (${more})` })
  }

  /** The same failure, saying which operation was under way. */
  during(id: string): DatabaseError {
    return new DatabaseError({ ...this, cause: this.cause, id: Option.some(id) })
  }
}

/** The connection was lost while the server was asked to commit; whether it did is not known here. */
export class CommitLost extends Schema.TaggedError<CommitLost>()("CommitLost", {
  reason: Schema.String,
  cause: Schema.Defect
}) {
  override get message(): string {
    return `the connection was lost at COMMIT: ${this.reason}`
  }
}

/** The connection was lost at COMMIT, and no other connection could tell what became of it within `lockTimeout`. */
export class CommitUnknown extends Schema.TaggedError<CommitUnknown>()("CommitUnknown", {
  id: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `the connection was lost while "${this.id}" was being committed, and the database could not be asked again: ${this.reason}. It is there completely or not at all; seed:status tells which.`
  }
}

/** A body tried to end, begin or prepare the transaction that is not its own. */
export class TransactionControl extends Schema.TaggedError<TransactionControl>()("TransactionControl", {
  statement: Schema.String
}) {
  override get message(): string {
    return `${this.statement}: the transaction belongs to the runner; use sql.withTransaction for a part that may fail`
  }
}

/** A body outside any transaction frees the lock under which it runs, or its session does not hold that lock any more at its end. */
export class LockControl extends Schema.TaggedError<LockControl>()("LockControl", { statement: Schema.String }) {
  override get message(): string {
    return `${this.statement}: the operations lock belongs to the runner, as without it another replica runs the same seed at once; leave out what frees the locks of the session (DISCARD ALL, pg_advisory_unlock and the like)`
  }
}

/** A body set the encoding that the server takes text for: from then on other letters than those that are sent would be stored. */
export class EncodingChanged extends Schema.TaggedError<EncodingChanged>()("EncodingChanged", {
  encoding: Schema.String
}) {
  override get message(): string {
    return `client_encoding was set to ${this.encoding}, where the driver sends and reads UTF-8: other letters than those that are sent would be stored. Leave it at UTF8; in SQL, convert_from and convert_to convert`
  }
}

/** A body outside any transaction began one, and did not end it: what it did there is rolled back. */
export class TransactionLeftOpen extends Schema.TaggedError<TransactionLeftOpen>()("TransactionLeftOpen", {}) {
  override get message(): string {
    return "it left a transaction open, which is rolled back: end it with COMMIT, or use sql.withTransaction"
  }
}

/** A statement of the body failed, the body went on, and the server keeps nothing of such a transaction (25P02). */
export class SwallowedSqlError extends Schema.TaggedError<SwallowedSqlError>()("SwallowedSqlError", {
  code: Schema.Option(Schema.String),
  reason: Schema.String
}) {
  override get message(): string {
    return `a statement failed and was caught outside sql.withTransaction, so PostgreSQL aborted the transaction: ${this.reason}`
  }
}

/** The server refused what the body left behind: a deferred constraint, a conflict found at COMMIT. */
export class CommitRefused extends Schema.TaggedError<CommitRefused>()("CommitRefused", {
  code: Schema.Option(Schema.String),
  reason: Schema.String
}) {
  override get message(): string {
    return `the server refused to commit: ${this.reason}`
  }
}

const describeHolder = (holder: Option.Option<LockHolder>): string =>
  Option.match(holder, { onNone: () => "a session that could not be identified", onSome: String })
