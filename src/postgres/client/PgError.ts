/**
 * The one door for failures of the driver and the server. They are told apart by SQLSTATE (PostgreSQL manual, appendix A), never by text.
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import { describe } from "../../operation/ErrorDescription.js"
import { DatabaseError } from "../../operation/OperationError.js"
import * as ServerLimit from "../../operation/ServerLimit.js"

/** The SQLSTATE of a failure that the server reported. */
export const sqlState = (error: SqlError): Option.Option<string> =>
  Option.filter(Option.fromNullable(describe(error).code), (code) => /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code))

/** Whether the connection is gone: the server said so, or did not get to say anything. Refusals of our own never reached it. */
export const isConnectionLost = (error: SqlError): boolean =>
  Option.match(sqlState(error), {
    onNone: () => !Predicate.hasProperty(error.cause, "_tag") && !(error.cause instanceof TypeError),
    onSome: (state) => state.startsWith("08") || lost.has(state)
  })

/** admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped, idle_session_timeout, and the two timeouts that end a session. */
const lost = new Set(["57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"])

/** An error of ours in the shape that a statement fails with. */
export const sqlError = (cause: Error): SqlError => new SqlError({ cause, message: cause.message })

/** The reason that the server or the driver gave. */
export const reasonOf = (error: SqlError): string => describe(error).message

/** A failure of a statement of ours. */
export const databaseError =
  (action: string) =>
  (error: SqlError): DatabaseError => {
    const { code, message } = describe(error)
    return DatabaseError.because(action, `${message}${hint(Option.fromNullable(code))}`, {
      code: Option.fromNullable(code),
      connectionLost: isConnectionLost(error),
      cause: error
    })
  }

/** feature_not_supported: a rule of the table has another answer than the row that RETURNING asks for. */
export const ruleInTheWay = "0A000"

/** A row that is not in its table as it was sent, and no error of the server's says why. */
export const notStored = (action: string, table: string, cause?: SqlError): DatabaseError =>
  DatabaseError.because(
    action,
    `${table} did not store the row as it was sent: look for a trigger, a rule or a row security policy on it`,
    { cause }
  )

/** The same for an error of the server's: of a rule behind RETURNING, if it is that; a standby answers so to BEGIN. */
export const refusedRow = (error: SqlError, action: string, table: string): DatabaseError | undefined =>
  Option.contains(sqlState(error), ruleInTheWay)
    ? new DatabaseError({ ...notStored(action, table, error), cause: error, code: Option.some(ruleInTheWay) })
    : undefined

const hints: { readonly [code: string]: string } = {
  "28P01": "check user and password in DATABASE_URL",
  "28000": "check user and password in DATABASE_URL",
  "3D000": "create the database, or correct its name in DATABASE_URL",
  "42P01":
    "kumiko_* and es_ops_* tables are made by the first seed or run that is no dry run, or from what es-ops schema prints; others are the application's to make",
  "22P05": "its encoding has no such character: leave that out, or use a database in UTF8",
  "42501":
    "grant the role what it needs (es-ops schema --grants <role> prints that), or let an administrator create the tables",
  ECONNREFUSED: "is the server running, and are host and port in DATABASE_URL right?",
  ENOTFOUND: "is the host in DATABASE_URL right?",
  ...Object.fromEntries(
    [
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    ].map((code) => [
      code,
      "name the file of the authority's certificate, sslrootcert=<file>, in DATABASE_URL; sslmode=no-verify takes any certificate"
    ])
  )
}

/** What a role is to do that lacks a right, as every refusal of the server's for that says it. */
export const privilegeHint = ` (${hints["42501"]})`

const hint = (code: Option.Option<string>): string =>
  Option.match(
    Option.orElse(
      Option.flatMapNullable(code, (known) => hints[known]),
      () => ServerLimit.remedyOf(Option.getOrNull(code))
    ),
    { onNone: () => "", onSome: (text) => ` (${text})` }
  )

/**
 * invalid_text_representation. Refusals of our own in the middle of a message, whose COMMIT must not be reached, are an expression that fails over a
 * text that is no number: the server's error quotes it, in whichever language, and what is between two marks is what happened.
 */
const notNumber = "22P02"

const mark = `es_ops_${randomUUID().replaceAll("-", "")}`

/** The expression that fails with this text, which is an expression too; one that is constant would fail before anything is looked at. */
export const raised = (text: string): string => `('${mark} ' || ${text} || ' ${mark}')::pg_catalog.int4`

/** The failure in our words, where it is one of these. */
export const inOwnWords = (error: SqlError): SqlError => {
  if (!Option.contains(sqlState(error), notNumber)) return error
  const [, reason, rest] = reasonOf(error).split(mark)
  return reason === undefined || rest === undefined
    ? error
    : sqlError(new OwnRefusal({ code: notNumber, reason: reason.trim() }))
}

class OwnRefusal extends Schema.TaggedError<OwnRefusal>()("OwnRefusal", {
  code: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}
