/**
 * `StreamMoves` on PostgreSQL: events keep their rows, of which only tenant and version are set.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { LockHolder } from "../../operation/OperationError.js"
import type { Move, Place } from "../../stream/StreamMoves.js"
import { EventsBusy, StreamMoves } from "../../stream/StreamMoves.js"
import { databaseError, sqlState } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import * as TableLock from "../client/TableLock.js"
import * as PurgedStreams from "../events/PurgedStreams.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as MoveText from "./MoveText.js"
import * as OpenTransactions from "./OpenTransactions.js"
import * as StreamTables from "./StreamTables.js"

const Flag = Schema.Literal("t", "f")
const Texts = Schema.parseJson(Schema.Array(Schema.String))

const StateRow = Schema.Struct({
  aggregate_id: Schema.String,
  source: Schema.String,
  target: Schema.String,
  source_type: Schema.NullOr(Schema.String),
  source_events: Schema.NumberFromString,
  source_version: Schema.NumberFromString,
  source_archived: Flag,
  target_type: Schema.NullOr(Schema.String),
  target_events: Schema.NumberFromString,
  target_version: Schema.NumberFromString,
  target_archived: Flag,
  types: Texts,
  taken: Texts
})

const StragglerRow = Schema.Struct({
  aggregate_id: Schema.String,
  source: Schema.String,
  target: Schema.String,
  events: Schema.NumberFromString,
  types: Texts
})

const HolderRow = Schema.Struct({
  pid: Schema.NumberFromString,
  application_name: Schema.String,
  since: Schema.NullOr(Schema.String)
})

/** Moves of the streams of `kumiko_events`; statements join the transaction of their fiber. */
export const make: Effect.Effect<StreamMoves["Type"], never, PgSql | PgSchema | OperationConfig> = Effect.gen(
  function* () {
    const sql = yield* PgSql
    const schema = yield* PgSchema
    const purgedAmong = PurgedStreams.among(sql, yield* OperationConfig)

    const look = (moves: NonEmptyReadonlyArray<Move>) =>
      Effect.gen(function* () {
        const found = yield* sql
          .unsafe(MoveText.look, [inputOf(moves)])
          .pipe(rows("looking at streams to be moved", StateRow))
        const [first, ...others] = moves.flatMap(({ aggregateId, from, to }) => [
          { aggregateId, tenantId: from },
          { aggregateId, tenantId: to }
        ])
        const purged =
          first === undefined
            ? new Set<string>()
            : new Set((yield* purgedAmong([first, ...others])).map((p) => `${p.tenantId}/${p.aggregateId}`))
        return found.map((row) => ({
          aggregateId: row.aggregate_id,
          from: row.source,
          to: row.target,
          source: placeOf(
            [row.source_type, row.source_events, row.source_version, row.source_archived],
            purged.has(`${row.source}/${row.aggregate_id}`)
          ),
          target: placeOf(
            [row.target_type, row.target_events, row.target_version, row.target_archived],
            purged.has(`${row.target}/${row.aggregate_id}`)
          ),
          types: row.types,
          takenKeys: row.taken
        }))
      })

    /** Runs statements one after another; a lock that is not had in time, or a deadlock, is to be tried again. */
    const runAll = (action: string, moves: NonEmptyReadonlyArray<Move>, texts: ReadonlyArray<string>) =>
      Effect.forEach(texts, (text) => sql.unsafe(text, [inputOf(moves)]), { discard: true }).pipe(
        Effect.mapError(busyOr(action))
      )

    const tables = StreamTables.find(sql, schema)

    return StreamMoves.of({
      look,
      lock: Effect.gen(function* () {
        yield* sql.unsafe(MoveText.patience)
        yield* sql.unsafe(MoveText.lock)
      }).pipe(Effect.asVoid, Effect.mapError(busyOr("locking the events"))),
      move: (moves) => Effect.flatMap(tables, (there) => runAll("moving streams", moves, MoveText.move(there))),
      merge: (moves) => Effect.flatMap(tables, (there) => runAll("merging streams", moves, MoveText.merge(there))),
      open: OpenTransactions.open(sql),
      over: (transactions, timeout) => OpenTransactions.over(sql, transactions, timeout),
      stragglers: (moves) =>
        Effect.map(
          sql.unsafe(MoveText.stragglers, [inputOf(moves)]).pipe(rows("looking for stragglers", StragglerRow)),
          (found) =>
            found.map((row) => ({
              aggregateId: row.aggregate_id,
              from: row.source,
              to: row.target,
              events: row.events,
              types: row.types
            }))
        ),
      putBehind: (moves) =>
        Effect.flatMap(tables, (there) => runAll("putting events behind", moves, MoveText.putBehind(there))),
      holder: Effect.map(
        sql.unsafe(MoveText.holder).pipe(rows("looking for who writes events", HolderRow)),
        ([found]) =>
          Option.map(
            Option.fromNullable(found),
            ({ application_name, pid, since }) =>
              new LockHolder({ pid, applicationName: application_name, since: Option.fromNullable(since) })
          )
      )
    })
  }
)

const inputOf = (moves: ReadonlyArray<Move>): string =>
  JSON.stringify(moves.map(({ aggregateId, from, to }) => ({ aggregate_id: aggregateId, source: from, target: to })))

const placeOf = (
  [type, events, version, archived]: readonly [string | null, number, number, "t" | "f"],
  isPurged: boolean
): Place => ({
  aggregateType: Option.fromNullable(type),
  events,
  version,
  isArchived: archived === "t",
  isPurged
})

/** lock_not_available, deadlock_detected. */
const passing = new Set([TableLock.notAvailable, "40P01"])

const busyOr =
  (action: string) =>
  (error: SqlError): EventsBusy | DatabaseError =>
    Option.exists(sqlState(error), (state) => passing.has(state)) ? new EventsBusy({}) : databaseError(action)(error)
