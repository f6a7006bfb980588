/**
 * The ports as a subscriber has them in a replay: they read as ever, and refuse to write.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { EventStore } from "../event/EventStore.js"
import { Features } from "../event/Features.js"
import { ReadTables } from "../event/ReadTables.js"
import { Snapshots } from "../event/Snapshots.js"
import { WriteDispatcher, WriteFailed } from "../event/WriteDispatcher.js"
import { DatabaseError } from "../operation/OperationError.js"
import type { Turns } from "./Deliveries.js"
import { Deliveries } from "./Deliveries.js"
import { ReplayWrites } from "./ReplayError.js"

/** Lets `work` run handlers, one after another, that have read-only ports, and a transaction each that only reads. */
export type ReadOnlyPorts = <A, E, R>(
  work: (run: Turns["run"]) => Effect.Effect<A, E, R>
) => Effect.Effect<A, E, R | Deliveries>

/** Over the ports of the fiber. */
export const make: Effect.Effect<ReadOnlyPorts, never, EventStore | Snapshots | Features> = Effect.gen(function* () {
  const store = yield* EventStore
  const snapshots = yield* Snapshots
  const tables = yield* Effect.serviceOption(ReadTables)
  const { serving } = yield* Features
  return (work) =>
    Effect.flatMap(Deliveries, (deliveries) =>
      deliveries.inTurn(({ refuse, run }) =>
        Effect.provide(serving(work(run)), portsOf(store, snapshots, tables, refuse))
      )
    )
})

const portsOf = (
  store: EventStore["Type"],
  snapshots: Snapshots["Type"],
  tables: Option.Option<ReadTables["Type"]>,
  noted: Turns["refuse"]
) => {
  const note = (what: string): ReplayWrites => {
    const refused = new ReplayWrites({ what: `the subscriber tried to ${what}` })
    noted(refused)
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
  return Context.merge(ports, ofTables)
}
