/**
 * A connection that keeps back what needs no answer of its own, and sends it in one message with the next statement: each statement of such
 * a text still takes its own snapshot (READ COMMITTED, simple query protocol; PostgreSQL manual, 54.2.2.1).
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"

/** A batch over one connection. */
export interface Batch {
  /** The connection for single statements; what was kept back goes first, in a message of its own where it has to. */
  readonly connection: Connection & { readonly pg: unknown }
  /** Sends `text` together with what was kept back; gives the rows of each statement, those kept back first. */
  readonly send: (text: string) => Effect.Effect<Results, SqlError>
  /** Sends `text`, which undoes what was kept back. */
  readonly undo: (text: string) => Effect.Effect<Results, SqlError>
  /** Keeps `text` back. */
  readonly later: (text: string) => void
  /** Whether nothing was sent so far. */
  readonly isUnsent: () => boolean
  /** Whether the server has answered to what was sent first. */
  readonly isBegun: () => boolean
}

/** What the server answered to each statement of a text. */
export type Results = ReadonlyArray<{ readonly command: unknown; readonly rows: ReadonlyArray<unknown> }>

/** `first` is kept back until something is sent; `begun` is told what was answered then. */
export const make = (
  raw: Connection & { readonly pg: unknown },
  first: string,
  begun: (results: Results) => void
): Batch => {
  let kept = first
  let unsent = true
  let answered = false

  /** Sends what was kept back, and `text` with it. */
  const together = (text: string): Effect.Effect<Results, SqlError> => {
    const sent = Effect.map(raw.executeRaw([kept, text].filter((part) => part !== "").join("; "), []), resultsOf)
    const isFirst = unsent
    kept = ""
    unsent = false
    return isFirst
      ? Effect.tap(sent, (results) =>
          Effect.sync(() => {
            answered = true
            begun(results)
          })
        )
      : sent
  }

  const send = (text: string): Effect.Effect<Results, SqlError> => Effect.suspend(() => together(text))

  const after = <A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.suspend(() => (kept === "" ? run : Effect.zipRight(together(""), run)))

  return {
    send,
    later: (text) => {
      kept = kept === "" ? text : `${kept}; ${text}`
    },
    isUnsent: () => unsent,
    isBegun: () => answered,
    undo: (text) =>
      Effect.suspend(() => {
        kept = ""
        return together(text)
      }),
    connection: {
      pg: raw.pg,
      execute: (text, params, transform) => after(raw.execute(text, params, transform)),
      executeRaw: (text, params) => after(raw.executeRaw(text, params)),
      executeValues: (text, params) => after(raw.executeValues(text, params)),
      executeUnprepared: (text, params, transform) => after(raw.executeUnprepared(text, params, transform)),
      executeStream: (text, params, transform) =>
        Stream.unwrap(after(Effect.sync(() => raw.executeStream(text, params, transform))))
    }
  }
}

const resultsOf = (answer: unknown): Results =>
  (Array.isArray(answer) ? answer : [answer]).map((result: unknown) => ({
    command: Predicate.hasProperty(result, "command") ? result.command : undefined,
    rows: Predicate.hasProperty(result, "rows") && Array.isArray(result.rows) ? result.rows : []
  }))
