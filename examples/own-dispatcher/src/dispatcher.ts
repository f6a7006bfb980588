import { SqlClient } from "@effect/sql"
import { Effect, Layer, Option, Schema } from "effect"
import { WriteDispatcher } from "effect-es-ops"

const { WriteFailed, WriteRejected } = WriteDispatcher

const Note = Schema.Struct({ id: Schema.NonEmptyString, text: Schema.NonEmptyString })

/** What this application calls a command: it checks its payload and writes. Yours may append to an event store that you have already. */
const commands = ["notes:write:add"]

/**
 * Over the client that the context gives, so a write joins the seed's transaction. `names` lets `seed:check` find a misspelt name, and
 * `transactionId` lets a writer on another connection be found before the first write.
 */
export const dispatcher = Layer.effect(
  WriteDispatcher.WriteDispatcher,
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    return WriteDispatcher.WriteDispatcher.of({
      names: commands,
      transactionId: sql`SELECT pg_current_xact_id()::text AS id`.pipe(
        Effect.flatMap(([row]) => Schema.decodeUnknown(Schema.Struct({ id: Schema.String }))(row)),
        Effect.map(({ id }) => id),
        Effect.orDie
      ),
      write: ({ actor, handler, payload }) =>
        Effect.gen(function* () {
          const refuse = (code: string, reason: string) => new WriteRejected({ handler, code, reason })
          if (!commands.includes(handler)) return yield* refuse("unknown_handler", `no command is named "${handler}"`)
          const note = yield* Option.match(Schema.decodeUnknownOption(Note)(payload), {
            onNone: () => refuse("validation_error", "a note has an id and a text"),
            onSome: Effect.succeed
          })
          const rows = yield* sql`INSERT INTO notes ${sql.insert({ ...note, author: actor.id })}
            ON CONFLICT (id) DO NOTHING RETURNING id`
          if (rows.length === 0) return yield* refuse("conflict", `there is a note "${note.id}" already`)
          return { data: note, events: [] }
        }).pipe(Effect.catchTag("SqlError", (cause) => new WriteFailed({ handler, cause })))
    })
  })
)
