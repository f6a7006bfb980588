/**
 * The ports as a subscriber has them in a replay: they read as ever, and refuse to write.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { EventStore } from "../event/EventStore.js"
import { ReadTables } from "../event/ReadTables.js"
import { Snapshots } from "../event/Snapshots.js"
import { WriteDispatcher, WriteFailed } from "../event/WriteDispatcher.js"
import { DatabaseError } from "../operation/OperationError.js"
import { ReplayWrites } from "./ReplayError.js"

/** Runs a handler with read-only ports. What it tried to write is its failure, whether it caught the refusal or not. */
export type ReadOnlyPorts = <E>(handler: Effect.Effect<void, E>) => Effect.Effect<void, E | ReplayWrites>

/** Over the ports of the fiber. */
export const make: Effect.Effect<ReadOnlyPorts, never, EventStore | Snapshots> = Effect.gen(function* () {
  const store = yield* EventStore
  const snapshots = yield* Snapshots
  const tables = yield* Effect.serviceOption(ReadTables)
  return (handler) =>
    Effect.suspend(() => {
      let tried = Option.none<ReplayWrites>()
      const note = (what: string): ReplayWrites => {
        const refused = new ReplayWrites({ what: `the subscriber tried to ${what}` })
        tried = Option.orElseSome(tried, () => refused)
        return refused
      }
      const refuse = (what: string) =>
        Effect.suspend(() => {
          const cause = note(what)
          return Effect.fail(DatabaseError.because(`to ${what}`, cause.message, { cause }))
        })
      const ports = Context.make(EventStore, {
        ...store,
        append: () => refuse("append events"),
        archive: () => refuse("archive a stream")
      }).pipe(
        Context.add(Snapshots, { ...snapshots, save: () => Effect.void }),
        Context.add(WriteDispatcher, {
          write: ({ handler: name }) =>
            Effect.suspend(() => new WriteFailed({ handler: name, cause: note(`write through ${name}`) }))
        })
      )
      const ofTables = Option.match(tables, {
        onNone: () => Context.empty(),
        onSome: (rows) =>
          Context.make(ReadTables, {
            ...rows,
            add: (table) => refuse(`add rows to ${table.name}`),
            put: (table) => refuse(`put rows into ${table.name}`),
            remove: (table) => refuse(`remove rows of ${table.name}`)
          })
      })
      const refused = Effect.suspend(() => Option.match(tried, { onNone: () => Effect.void, onSome: Effect.fail }))
      return handler.pipe(
        Effect.provide(ofTables),
        Effect.provide(ports),
        Effect.catchAll((error) => Effect.zipRight(refused, Effect.fail(error))),
        Effect.zipLeft(refused)
      )
    })
})
