/**
 * The errors of a value that does not fit its schema: one line a field, with the path to it.
 */
import * as ParseResult from "effect/ParseResult"

/** The lines, in the order of the schema's fields; what is wrong with the value as a whole has no path. */
export const lines = (issue: ParseResult.ParseIssue): string =>
  ParseResult.ArrayFormatter.formatIssueSync(issue)
    .map(({ message, path }) => (path.length === 0 ? message : `${path.map(String).join(".")}: ${message}`))
    .join("\n")
