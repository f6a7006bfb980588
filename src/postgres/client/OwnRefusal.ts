/**
 * Refusals of our own in the middle of a message, whose COMMIT must not be reached: an expression that fails (22P02) over a text that is no number.
 * The server's error quotes it, in whichever language, and what is between two marks is what happened.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import { reasonOf, sqlError, sqlState } from "./PgError.js"

/** invalid_text_representation */
const code = "22P02"

const mark = `es_ops_${randomUUID().replaceAll("-", "")}`

/** The expression that fails with this text, which is an expression too; one that is constant would fail before anything is looked at. */
export const raised = (text: string): string => `('${mark} ' || ${text} || ' ${mark}')::pg_catalog.int4`

/** The failure in our words, where it is one of these. */
export const inOwnWords = (error: SqlError): SqlError => {
  if (!Option.contains(sqlState(error), code)) return error
  const [, reason, rest] = reasonOf(error).split(mark)
  return reason === undefined || rest === undefined ? error : sqlError(new OwnRefusal({ code, reason: reason.trim() }))
}

class OwnRefusal extends Schema.TaggedError<OwnRefusal>()("OwnRefusal", {
  code: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}
