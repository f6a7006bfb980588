/**
 * Statements that need no answer, in one flight with one that has parameters: before one Sync of the extended protocol, so that nothing is
 * executed behind what was refused (PostgreSQL manual, 54.2.3), and no value stands in a text. A message of their own took 0.1 ms a write.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Cancellation from "../client/Cancellation.js"

/** Sends `before`, and `text` with its parameters, which can be left; gives the rows of `text`. */
export type Flight = (
  before: ReadonlyArray<string>,
  text: string,
  params: ReadonlyArray<unknown>,
  left?: Cancellation.Left
) => Effect.Effect<ReadonlyArray<object>, SqlError>

/**
 * Flights over this connection, if nothing was put around the client's connection and its driver, which is that of `pg` in JavaScript: what was
 * may want to see a text, or make another query of it.
 */
export const over = (connection: Connection): Option.Option<Flight> => {
  if (!Cancellation.isClients(connection)) return Option.none()
  const driver: unknown = connection.pg
  return isPlain(driver)
    ? Option.some((before, text, params, left) => fly(connection, driver, before, text, params, left))
    : Option.none()
}

/** The driver. */
interface Driver {
  readonly constructor: { readonly Query: new (text: string, params: Array<unknown>) => Query }
  readonly query: (query: Query) => unknown
}

/** A query of the driver: submitted when its turn has come, and then told of each message. */
interface Query {
  callback: Cancellation.Done
  submit: (wire: Wire) => unknown
  handleCommandComplete: (message: unknown, wire: unknown) => void
}

/** What it is submitted to. */
interface Wire {
  readonly flush: () => void
  readonly parse: (statement: { readonly text: string }) => void
  readonly bind: (values: object) => void
  readonly execute: (portal: object) => void
  readonly stream: { readonly cork: () => void; readonly uncork: () => void }
}

/** Cancelled is only `text`: without the others, there would be no savepoint to go back to. */
const fly = (
  connection: Cancellation.ClientConnection,
  driver: Driver,
  before: ReadonlyArray<string>,
  text: string,
  params: ReadonlyArray<unknown>,
  left?: Cancellation.Left
): Effect.Effect<ReadonlyArray<object>, SqlError> =>
  Effect.suspend(() => {
    const query = new driver.constructor.Query(text, [...params])
    let missing = before.length
    let tellBegun: () => void = () => undefined
    const through = () => {
      if (--missing === 0) tellBegun()
    }
    sendingBefore(query, before, through)
    const submit = (done: Cancellation.Done) => {
      query.callback = (error, results) => {
        done(error, results)
        // Refused, or the connection is gone: what is behind will not come.
        missing = 0
        tellBegun()
      }
      driver.query(query)
    }
    const begun = Effect.async<void>((resume) => {
      tellBegun = () => resume(Effect.void)
      if (missing <= 0) tellBegun()
    })
    return Cancellation.ask(connection, lastRows, submit, { begun, left })
  })

/** Makes a query send these before itself, and tells of each that is through. */
const sendingBefore = (query: Query, before: ReadonlyArray<string>, through: () => void): void => {
  const submit = query.submit.bind(query)
  query.submit = (wire) => {
    wire.stream.cork()
    try {
      for (const text of before) {
        wire.parse({ text })
        wire.bind({})
        wire.execute({})
      }
      // The server tells of these before it goes on (PostgreSQL manual, 54.2.3): what is behind them can be cancelled from then on.
      wire.flush()
      return submit(wire)
    } finally {
      wire.stream.uncork()
    }
  }
  const handle = query.handleCommandComplete.bind(query)
  query.handleCommandComplete = (message, wire) => {
    handle(message, wire)
    through()
  }
}

/** As with a text of several statements, there is a result of each. */
const lastRows = (results: unknown): ReadonlyArray<object> => {
  const last: unknown = Array.isArray(results) ? results.at(-1) : results
  const rows = Predicate.hasProperty(last, "rows") ? last.rows : []
  return Array.isArray(rows) ? rows.filter(Predicate.isObject) : []
}

const isPlain = (driver: unknown): driver is Driver => {
  if (!Predicate.hasProperty(driver, "constructor") || !Predicate.hasProperty(driver, "query")) return false
  const made = driver.constructor
  return (
    Predicate.hasProperty(made, "Query") &&
    Object.hasOwn(made, "Query") &&
    Predicate.hasProperty(made, "prototype") &&
    Predicate.hasProperty(made.prototype, "query") &&
    made.prototype.query === driver.query &&
    Predicate.hasProperty(made.Query, "prototype") &&
    Cancellation.hasFunctions(made.Query.prototype, ["submit", "handleCommandComplete"]) &&
    Predicate.hasProperty(driver, "connection") &&
    isWire(driver.connection)
  )
}

const isWire = (value: unknown): value is Wire =>
  Cancellation.hasFunctions(value, ["flush", "parse", "bind", "execute"]) &&
  Predicate.hasProperty(value, "stream") &&
  Cancellation.hasFunctions(value.stream, ["cork", "uncork"])
