/**
 * Text that has to be stored whatever the encoding of the database: what that cannot hold is replaced by a question mark. Only the server knows
 * its encodings, so that it is asked of each character beyond ASCII, once.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { PgSql } from "./PgSql.js"
import { alone } from "./DecoratedConnection.js"
import { PgStep } from "./PgStep.js"

/** Sends statements of ours in one message; gives what was answered to each. */
type Send = (text: string) => Effect.Effect<unknown, SqlError>

/** What is known of the encoding of a database. */
export interface Encoding {
  /** Whether it holds every character: UTF8 does, and SQL_ASCII keeps whatever it is sent. */
  holdsAll: boolean
  /** Whether it holds these. */
  readonly characters: Map<string, boolean>
}

/** An encoding of which nothing is known. */
export const unknown = (): Encoding => ({ holdsAll: false, characters: new Map() })

/** The text, where every character that the encoding does not hold is `?`. What cannot be asked of the server is taken for one of those. */
export const fit = (encoding: Encoding, text: string, ask: Send): Effect.Effect<string> =>
  Effect.suspend(() => {
    if (encoding.holdsAll) return Effect.succeed(text)
    const clean = text.toWellFormed()
    const asked = [...new Set(clean.match(/\P{ASCII}/gu))].filter((character) => !encoding.characters.has(character))
    const learning = asked.length === 0 ? Effect.void : learn(encoding, asked, ask)
    return Effect.map(Effect.ignore(learning), () =>
      encoding.holdsAll
        ? text
        : clean.replaceAll(/\P{ASCII}/gu, (character) =>
            encoding.characters.get(character) === true ? character : "?"
          )
    )
  })

/** Asks on the connection of the step that the fiber is in, in a savepoint, or on one of its own. */
export const asking =
  (sql: PgSql["Type"]): Send =>
  (text) =>
    Effect.flatMap(
      Effect.serviceOption(PgStep),
      Option.match({ onNone: () => alone(sql)(sentAlone(text)), onSome: ({ send }) => inSavepoint(send)(text) })
    )

/** Asks inside a transaction, which goes on if the question fails. */
export const inSavepoint =
  (send: Send): Send =>
  (text) =>
    send(`SAVEPOINT es_ops_text; ${text}; RELEASE SAVEPOINT es_ops_text`).pipe(
      Effect.tapError(() => Effect.ignore(send("ROLLBACK TO SAVEPOINT es_ops_text")))
    )

const sentAlone: Send = (text) =>
  Effect.flatMap(
    Effect.serviceOption(SqlClient.TransactionConnection),
    Option.match({
      onNone: () => Effect.void,
      onSome: ([connection]) => connection.executeRaw(text, [])
    })
  )

const learn = (encoding: Encoding, asked: ReadonlyArray<string>, ask: Send): Effect.Effect<void, SqlError> =>
  Effect.map(ask(question(asked)), (results) => {
    const row = [results].flat().flatMap(rowsOf).find(isAnswer)
    if (row === undefined) return
    encoding.holdsAll = row.encoding === "UTF8" || row.encoding === "SQL_ASCII"
    const held = new Set(row.held.split(","))
    for (const character of asked) encoding.characters.set(character, held.has(hexOf(character)))
  })

const rowsOf = (result: unknown): ReadonlyArray<unknown> =>
  Predicate.hasProperty(result, "rows") && Array.isArray(result.rows) ? result.rows : []

const isAnswer = (row: unknown): row is { readonly encoding: string; readonly held: string } =>
  Predicate.hasProperty(row, "encoding") &&
  Predicate.isString(row.encoding) &&
  Predicate.hasProperty(row, "held") &&
  Predicate.isString(row.held)

const hexOf = (character: string): string => Buffer.from(character, "utf8").toString("hex")

/** A character that an encoding does not hold is an error, which only a block of PL/pgSQL survives; what it found goes out by a setting. */
const question = (characters: ReadonlyArray<string>): string =>
  `DO $es_ops$ DECLARE given pg_catalog.text; held pg_catalog.text[]; BEGIN
      FOREACH given IN ARRAY pg_catalog.string_to_array('${characters.map(hexOf).join(",")}', ',') LOOP
        BEGIN
          PERFORM pg_catalog.convert(pg_catalog.decode(given, 'hex'), 'UTF8', pg_catalog.getdatabaseencoding());
          held := pg_catalog.array_append(held, given);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
      END LOOP;
      PERFORM pg_catalog.set_config('es_ops.held', pg_catalog.array_to_string(held, ','), true);
    END $es_ops$;
    SELECT pg_catalog.getdatabaseencoding()::pg_catalog.text AS encoding, pg_catalog.current_setting('es_ops.held') AS held`
