/**
 * The function of a projection by `Projection.make`, run against the shadow: its tables come before all others in the search path, it cannot
 * append, and what it writes elsewhere is noticed.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { Event } from "../../event/Event.js"
import { EventStore } from "../../event/EventStore.js"
import type { Projection } from "../../event/Projection.js"
import { describe } from "../../operation/ErrorDescription.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { ApplyFailed, WroteOutsideShadow } from "../../projection/RebuildProblem.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { literal, quote } from "../client/SqlText.js"
import * as DeadLetters from "./DeadLetters.js"
import type { Shadow } from "./Shadow.js"
import * as ShadowRows from "./ShadowRows.js"
import { shadowSchema } from "../schema/ShadowSchema.js"

/** Streams whose events are left out, as `tenant/aggregate`. */
export type LeftOut = Set<string>

/** Applies events in their order, those of streams that are left out excepted. Inside a batch. */
export const apply = (shadow: Shadow, store: EventStore["Type"], leftOut: LeftOut, events: ReadonlyArray<Event>) =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const [path] = yield* sql
      .unsafe("SELECT current_setting('search_path') AS path")
      .pipe(rows("reading the search path", Schema.Struct({ path: Schema.String })))
    const before = path?.path ?? ""
    yield* setPath(before === "" ? quote(shadowSchema) : `${quote(shadowSchema)}, ${before}`)
    for (const { events: some, projection } of turns(shadow.target.projections, events))
      yield* applyTogether(shadow, store, leftOut, projection, some)
    yield* setPath(before)
  })

const setPath = (path: string) =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(`SELECT set_config('search_path', ${literal(path)}, true)`)
      .pipe(Effect.mapError(databaseError("setting the search path")))
  )

interface Turn {
  readonly projection: Projection<unknown>
  readonly events: Array<Event>
}

/** Events go to each projection in the order of their ids; what follows on another for one projection goes together. */
export const turns = (
  projections: ReadonlyArray<Projection<unknown>>,
  events: ReadonlyArray<Event>
): ReadonlyArray<Turn> => {
  const found: Array<Turn> = []
  for (const event of events) {
    for (const projection of projections) {
      if (!projection.events.includes(event.type)) continue
      const last = found.at(-1)
      if (last?.projection === projection) last.events.push(event)
      else found.push({ projection, events: [event] })
    }
  }
  return found
}

/** All at once; where that fails, one after another, to find the one that it fails for. */
const applyTogether = (
  shadow: Shadow,
  store: EventStore["Type"],
  leftOut: LeftOut,
  projection: Projection<unknown>,
  events: ReadonlyArray<Event>
) =>
  Effect.gen(function* () {
    const wanted = events.filter((event) => !leftOut.has(streamOf(event)))
    const whole = yield* Effect.exit(applyIn(projection, store, wanted))
    if (Exit.isSuccess(whole)) return
    yield* passOn(whole)
    for (const event of wanted) {
      if (leftOut.has(streamOf(event))) continue
      const exit = yield* Effect.exit(applyIn(projection, store, [event]))
      if (Exit.isSuccess(exit)) continue
      yield* passOn(exit)
      const cause = Cause.squash(exit.cause)
      const failed = new ApplyFailed({
        projection: projection.name,
        eventId: event.id,
        reason: describe(cause).message,
        cause
      })
      if (shadow.policy.onPoison === "fail") return yield* failed
      leftOut.add(streamOf(event))
      yield* leaveOut(shadow, projection, event, failed)
    }
  })

/** What is no fault of an event's ends the rebuild. */
const passOn = <A, E>(exit: Exit.Exit<A, E>): Effect.Effect<void, WroteOutsideShadow | DatabaseError> => {
  if (Exit.isSuccess(exit)) return Effect.void
  if (Cause.isInterrupted(exit.cause)) return Effect.interrupt
  const error = Cause.squash(exit.cause)
  if (error instanceof WroteOutsideShadow) return error
  return error instanceof DatabaseError && error.connectionLost ? error : Effect.void
}

/** In a savepoint of its own. */
const applyIn = (projection: Projection<unknown>, store: EventStore["Type"], events: ReadonlyArray<Event>) =>
  Effect.gen(function* () {
    if (!Arr.isNonEmptyReadonlyArray(events)) return
    const sql = yield* PgSql
    yield* sql.withTransaction(
      Effect.gen(function* () {
        const before = yield* written
        yield* Effect.provideService(projection.apply(events), EventStore, store)
        const after = yield* written
        for (const [table, count] of after)
          if (count > (before.get(table) ?? 0))
            return yield* new WroteOutsideShadow({ projection: projection.name, table })
      })
    )
  })

/** How many rows this transaction has written so far in tables that are no shadows; the counts of a session go on from one to the next. */
const written = Effect.flatMap(PgSql, (sql) =>
  sql
    .unsafe(
      `SELECT format('%I.%I', schemaname, relname) AS name, (n_tup_ins + n_tup_upd + n_tup_del)::text AS count FROM pg_stat_xact_user_tables
      WHERE schemaname <> ${literal(shadowSchema)} AND schemaname !~ '^pg_temp' AND n_tup_ins + n_tup_upd + n_tup_del > 0`
    )
    .pipe(rows("looking for what was written", Schema.Struct({ name: Schema.String, count: Schema.NumberFromString })))
).pipe(Effect.map((found) => new Map(found.map(({ count, name }) => [name, count]))))

const streamOf = ({ aggregateId, tenantId }: Event): string => `${tenantId}/${aggregateId}`

/** Its rows stay as they are, as far as their key is the aggregate. */
const leaveOut = (shadow: Shadow, projection: Projection<unknown>, event: Event, failed: ApplyFailed) =>
  Effect.gen(function* () {
    for (const table of shadow.tables) {
      const [key, ...others] = table.columns.filter(({ name }) => table.keys.includes(name))
      if (key === undefined || others.length > 0 || !(key.type === "uuid" || key.type === "text")) continue
      yield* ShadowRows.keep(table, [{ [key.name]: event.aggregateId }])
    }
    yield* DeadLetters.record(shadow, [
      { projection: projection.name, table: undefined, key: undefined, event, reason: failed.message }
    ])
  })

/** A store that reads, and refuses to be written to. */
export const readOnly = (store: EventStore["Type"]): EventStore["Type"] => {
  const refused = Effect.fail(
    DatabaseError.because(
      "appending events",
      "a projection that is rebuilt must not append: its events are there already"
    )
  )
  return EventStore.of({ ...store, append: () => refused, archive: () => refused })
}
