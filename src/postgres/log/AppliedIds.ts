/**
 * The ids of everything applied, in one row: those of one type of operation as one text, which is taken apart only where a single id matters.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { AppliedOperations, separator } from "../../operation/AppliedOperations.js"
import { literal } from "../client/SqlText.js"

/** The ids of all operations of a type in one text, how many there are, and those of other types with their types. */
export const Row = Schema.Struct({
  ids: Schema.String,
  count: Schema.NumberFromString,
  others: Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.String }))
})

/** Nothing is applied. */
export const none: typeof Row.Type = { ids: "", count: 0, others: {} }

/** The statement that answers with it. */
export const text = (markers: string, type: string): string => {
  const ofType = `operation_type = ${literal(type)}`
  return `SELECT coalesce(string_agg(id, ${literal(separator)}) FILTER (WHERE ${ofType}), '') AS ids,
      (count(*) FILTER (WHERE ${ofType}))::text AS count,
      coalesce(json_object_agg(id, operation_type) FILTER (WHERE NOT ${ofType}), '{}')::text AS others
    FROM ${markers}`
}

/** What a row says; none where an id has the separator in it: then only rows tell. */
export const applied = (type: string, { count, ids, others }: typeof Row.Type): Option.Option<AppliedOperations> =>
  count === 0 || count === countOf(ids)
    ? Option.some(AppliedOperations.fromText(type, ids, count, Object.entries(others)))
    : Option.none()

/** How many ids a text is of, if none has the separator in it. */
const countOf = (ids: string): number => {
  let found = 1
  for (let at = ids.indexOf(separator); at !== -1; at = ids.indexOf(separator, at + 1)) found++
  return found
}
