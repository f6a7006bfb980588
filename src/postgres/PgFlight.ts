/**
 * Statements that need no answer, in one flight with one that has parameters: before one Sync of the extended protocol, so that nothing is
 * executed behind what was refused (PostgreSQL manual, 54.2.3), and no value stands in a text. A message of their own took 0.1 ms a write.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"

/** Sends `before`, and `text` with its parameters; gives the rows of `text`. */
export type Flight = (
  before: ReadonlyArray<string>,
  text: string,
  params: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<object>, SqlError>

/** What the driver submits a query to. */
interface Wire {
  readonly parse: (statement: { readonly text: string }) => void
  readonly bind: (values: object) => void
  readonly execute: (portal: object) => void
  readonly stream: { readonly cork: () => void; readonly uncork: () => void }
}

/** A query of the driver, which it takes in place of a text: made, then submitted to the wire when its turn has come. */
interface Query {
  submit: (wire: unknown) => unknown
}

type QueryClass = new (text: string, params: Array<unknown>) => Query

/**
 * Flights over this connection, if it is the client's own and its driver the one of `pg` in JavaScript: what somebody put around it may want
 * to see a text, and another driver submits in another way.
 */
export const over = (connection: Connection): Option.Option<Flight> => {
  const driver = Predicate.hasProperty(connection, "pg") ? connection.pg : undefined
  const Query = queryClass(driver)
  if (Query === undefined || !Predicate.hasProperty(driver, "connection") || !isWire(driver.connection))
    return Option.none()
  if (connection.execute !== Object.getPrototypeOf(connection).execute) return Option.none()
  return Option.some((before, text, params) =>
    Effect.suspend(() => Effect.map(submit(connection, behind(before, new Query(text, [...params]))), lastRows))
  )
}

/** The same query, which sends these before itself. */
const behind = (before: ReadonlyArray<string>, query: Query): Query => {
  const submit = query.submit.bind(query)
  query.submit = (wire) => {
    if (!isWire(wire)) return new TypeError("another wire than expected")
    wire.stream.cork()
    try {
      for (const text of before) {
        wire.parse({ text })
        wire.bind({})
        wire.execute({})
      }
      return submit(wire)
    } finally {
      wire.stream.uncork()
    }
  }
  return query
}

/** The client hands on to the driver what it is given for a text, and has its cancelling and its errors around it. */
const submit = (connection: Connection, query: Query): Effect.Effect<ReadonlyArray<unknown>, SqlError> =>
  Reflect.apply(connection.execute, connection, [query, [], undefined])

/** As with a text of several statements, there is an answer to each. */
const lastRows = (answers: ReadonlyArray<unknown>): ReadonlyArray<object> => {
  const rows = answers.at(-1)
  return Array.isArray(rows) ? rows.filter(Predicate.isObject) : []
}

const isWire = (value: unknown): value is Wire =>
  hasFunctions(value, ["parse", "bind", "execute"]) &&
  Predicate.hasProperty(value, "stream") &&
  hasFunctions(value.stream, ["cork", "uncork"])

const hasFunctions = (value: unknown, names: ReadonlyArray<string>): boolean =>
  names.every((name) => Predicate.hasProperty(value, name) && Predicate.isFunction(value[name]))

const isQueryClass = (value: unknown): value is QueryClass =>
  Predicate.isFunction(value) && hasFunctions(value.prototype, ["submit", "handleCommandComplete"])

const queryClass = (driver: unknown): QueryClass | undefined => {
  const made = Predicate.hasProperty(driver, "constructor") ? driver.constructor : undefined
  return Predicate.hasProperty(made, "Query") && isQueryClass(made.Query) ? made.Query : undefined
}
