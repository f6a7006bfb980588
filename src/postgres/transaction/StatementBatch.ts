/**
 * A batch of statements that need no answer of their own: they are sent in one message with the next text. Each statement of such a text still
 * takes its own snapshot (READ COMMITTED, simple query protocol; PostgreSQL manual, 54.2.2.1).
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Abandoned } from "../client/Cancellation.js"
import { abandonable } from "../client/Cancellation.js"
import { decorate } from "../client/ConnectionDecorator.js"
import type { Results } from "../client/PgStep.js"

/** The batch of one connection. */
export interface StatementBatch {
  /** The connection for single statements, each of which can be abandoned; what waits in the batch goes first, in a message of its own. */
  readonly connection: (abandoned?: Abandoned) => Connection
  /** Sends `text` together with what waits; gives the rows of each statement, those that waited first. */
  readonly send: (text: string) => Effect.Effect<Results, SqlError>
  /** Sends `text` in place of what waits, which it undoes. */
  readonly sendInstead: (text: string) => Effect.Effect<Results, SqlError>
  /** Lets `text` wait for the next message. */
  readonly later: (text: string) => void
  /** Whether nothing was sent so far. */
  readonly isUnsent: () => boolean
  /** Whether the server has answered the first message. */
  readonly isBegun: () => boolean
}

/** A batch in which `first` waits. */
export const make = (connection: Connection, first: string): StatementBatch => {
  const waiting = [first]
  let unsent = true
  let begun = false

  const send = (text: ReadonlyArray<string>): Effect.Effect<Results, SqlError> =>
    Effect.suspend(() => {
      const all = [...waiting.splice(0), ...text].join("; ")
      unsent = false
      return Effect.map(connection.executeRaw(all, []), (answer) => {
        begun = true
        return resultsOf(answer)
      })
    })

  return {
    connection: (abandoned) =>
      decorate(connection, (run) =>
        abandonable(
          Effect.suspend(() => (waiting.length === 0 ? run : Effect.zipRight(send([]), run))),
          abandoned
        )
      ),
    send: (text) => send([text]),
    sendInstead: (text) =>
      Effect.suspend(() => {
        waiting.length = 0
        return send([text])
      }),
    later: (text) => {
      waiting.push(text)
    },
    isUnsent: () => unsent,
    isBegun: () => begun
  }
}

const resultsOf = (answer: unknown): Results =>
  (Array.isArray(answer) ? answer : [answer]).map((result: unknown) => ({
    command: Predicate.hasProperty(result, "command") ? result.command : undefined,
    rows: Predicate.hasProperty(result, "rows") && Array.isArray(result.rows) ? result.rows : []
  }))
