/**
 * A connection that keeps back what needs no answer of its own, and sends it in one message with the next statement: each statement of such
 * a text still takes its own snapshot (READ COMMITTED, simple query protocol; PostgreSQL manual, 54.2.2.1).
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as PipelinedStatements from "./PipelinedStatements.js"
import { leaving } from "../client/Cancellation.js"
import type { Left } from "../client/Cancellation.js"

/** A batch over one connection. */
export interface Batch {
  /** The connection for single statements; what was kept back goes first, in a message of its own where it has to. */
  readonly connection: Connection & { readonly pg: unknown }
  /** The same for whoever wants to be told of statements that are left. */
  readonly leaving: (left: Left) => Connection
  /** Sends `text` together with what was kept back; gives the rows of each statement, those kept back first. */
  readonly send: (text: string) => Effect.Effect<Results, SqlError>
  /** The same, which cannot be left: whoever sends it decides how long it is waited for. */
  readonly sendBare: (text: string) => Effect.Effect<Results, SqlError>
  /** Sends `text`, which undoes what was kept back. */
  readonly undo: (text: string) => Effect.Effect<Results, SqlError>
  /** Keeps `text` back. */
  readonly later: (text: string) => void
  /** Keeps `text` back no longer: true if it was not sent. */
  readonly forget: (text: string) => boolean
  /** Whether nothing was sent so far. */
  readonly isUnsent: () => boolean
  /** Whether the server has answered to what was sent first. */
  readonly isBegun: () => boolean
}

/** What the server answered to each statement of a text. */
export type Results = ReadonlyArray<{ readonly command: unknown; readonly rows: ReadonlyArray<unknown> }>

/** `first` is kept back until something is sent; `begun` is told what was answered then. */
export const make = (wire: Connection, first: string, begun: (results: Results) => void): Batch => {
  const raw = leaving(wire)
  const kept = [first]
  let unsent = true
  let answered = false

  /** Sends what was kept back, and `text` with it. */
  const together = (over: Connection, ...text: ReadonlyArray<string>): Effect.Effect<Results, SqlError> => {
    const all = [...kept.splice(0), ...text].join("; ")
    const isFirst = unsent
    unsent = false
    return Effect.map(over.executeRaw(all, []), (answer) => {
      const results = resultsOf(answer)
      if (isFirst) {
        answered = true
        begun(results)
      }
      return results
    })
  }

  const after = <A>(over: Connection, run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.suspend(() => (kept.length === 0 ? run : Effect.zipRight(together(over), run)))

  /** Together with what was kept back, where the driver can and there is a transaction. */
  const execute =
    (over: Connection, left?: Left): Connection["execute"] =>
    (text, params, transform) =>
      Effect.suspend(() => {
        if (kept.length === 0) return over.execute(text, params, transform)
        const flight = answered && params.length > 0 ? PipelinedStatements.over(wire) : Option.none()
        if (Option.isNone(flight)) return Effect.zipRight(together(over), over.execute(text, params, transform))
        const rows = flight.value(kept.splice(0), text, params, left)
        return transform === undefined ? rows : Effect.map(rows, transform)
      })

  /** With `pg` among the others: spread and added to, an object gets a hidden class of its own, each time, in old space. */
  const connectionOver = (over: Connection, left?: Left): Batch["connection"] => ({
    pg: raw.pg,
    execute: execute(over, left),
    executeRaw: (text, params) => after(over, over.executeRaw(text, params)),
    executeValues: (text, params) => after(over, over.executeValues(text, params)),
    executeUnprepared: (text, params, transform) => after(over, over.executeUnprepared(text, params, transform)),
    executeStream: (text, params, transform) =>
      Stream.unwrap(
        after(
          over,
          Effect.sync(() => over.executeStream(text, params, transform))
        )
      )
  })

  return {
    send: (text) => Effect.suspend(() => together(raw, text)),
    sendBare: (text) => Effect.suspend(() => together(wire, text)),
    later: (text) => {
      kept.push(text)
    },
    forget: (text) => {
      const at = kept.indexOf(text)
      return at !== -1 && kept.splice(at, 1).length > 0
    },
    isUnsent: () => unsent,
    isBegun: () => answered,
    undo: (text) =>
      Effect.suspend(() => {
        kept.length = 0
        return together(raw, text)
      }),
    connection: connectionOver(raw),
    leaving: (left) => connectionOver(leaving(wire, left), left)
  }
}

const resultsOf = (answer: unknown): Results =>
  (Array.isArray(answer) ? answer : [answer]).map((result: unknown) => ({
    command: Predicate.hasProperty(result, "command") ? result.command : undefined,
    rows: Predicate.hasProperty(result, "rows") && Array.isArray(result.rows) ? result.rows : []
  }))
