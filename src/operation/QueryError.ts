/**
 * A query of a seed gives rows, or fails with one of these errors.
 */
import * as Schema from "effect/Schema"
import type { DatabaseError } from "./OperationError.js"

/** A query that is not one reading statement, or that the server found to write. Nothing of it remains. */
export class ReadOnlyViolation extends Schema.TaggedError<ReadOnlyViolation>()("ReadOnlyViolation", {
  code: Schema.Option(Schema.String),
  reason: Schema.String
}) {
  override get message(): string {
    return `query reads only: ${this.reason}`
  }
}

/** The server refused a query: a table that is not there, a type that does not fit. */
export class QueryFailed extends Schema.TaggedError<QueryFailed>()("QueryFailed", {
  code: Schema.Option(Schema.String),
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}

/** There is no SQL in memory. */
export class QueryUnavailable extends Schema.TaggedError<QueryUnavailable>()("QueryUnavailable", {}) {
  override get message(): string {
    return "query needs a database: the memory layers answer no SQL"
  }
}

/** The failures of a query. */
export type QueryError = ReadOnlyViolation | QueryFailed | QueryUnavailable | DatabaseError

/** A row as the driver gives it, columns by their names. */
export type Row = { readonly [column: string]: unknown }
