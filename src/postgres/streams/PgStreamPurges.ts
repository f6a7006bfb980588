/**
 * `StreamPurges` on PostgreSQL: events, and what knows them, by statements that take many streams.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { ConsumerBehind, RightMissing } from "../../stream/PurgeProblem.js"
import type { DueStream, RowSums, StreamDigest } from "../../stream/StreamPurges.js"
import { StreamPurges } from "../../stream/StreamPurges.js"
import { databaseError, sqlState } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import * as TableLock from "../client/TableLock.js"
import * as PurgedStreams from "../events/PurgedStreams.js"
import * as Settling from "../feed/Settling.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as OpenTransactions from "./OpenTransactions.js"
import * as PurgeText from "./PurgeText.js"
import * as StreamTables from "./StreamTables.js"

const Texts = Schema.parseJson(Schema.Array(Schema.String))

const Due = Schema.Struct({ tenant_id: Schema.String, aggregate_id: Schema.String, aggregate_type: Schema.String })

const Sums = Schema.Struct({
  events: Schema.NumberFromString,
  ids: Schema.BigInt,
  writes: Schema.BigInt
})

const Digest = Schema.Struct({
  ...Due.fields,
  ...Sums.fields,
  version: Schema.NumberFromString,
  newest: Schema.NullOr(Schema.BigInt),
  types: Texts,
  aggregate_types: Texts,
  /** The sha-256 of the lines, or these themselves where they were asked for. */
  said: Schema.String
})

const Along = Schema.Struct({
  snapshots: Schema.NumberFromString,
  dead_letters: Schema.NumberFromString
})

const Owing = Schema.Struct({
  consumer: Schema.String,
  instance: Schema.NullOr(Schema.String),
  processed: Schema.String,
  newest: Schema.String
})

const Left = Schema.Struct({
  tenant_id: Schema.String,
  aggregate_id: Schema.String,
  events: Schema.NumberFromString
})

/** What each table has to grant; a mark is locked with the right to change it, and so is the table of consumers. */
const rights: ReadonlyArray<
  readonly [table: StreamTables.Known | "kumiko_events" | "kumiko_archived_streams", right: string]
> = [
  ["kumiko_events", "DELETE"],
  ["kumiko_archived_streams", "UPDATE"],
  ["kumiko_event_consumers", "UPDATE"],
  ...[...PurgeText.snapshotTables, ...PurgeText.letterTables].map((table) => [table, "DELETE"] as const)
]

/** Purges in `kumiko_events`; statements join the transaction of their fiber. */
export const make: Effect.Effect<StreamPurges["Type"], never, PgSql | PgSchema | OperationConfig> = Effect.gen(
  function* () {
    const sql = yield* PgSql
    const schema = yield* PgSchema
    const config = yield* OperationConfig
    const table = PurgedStreams.tableOf(config)
    const tables = StreamTables.find(sql, schema)

    /** The tombstones, which are there once a purge was begun. */
    const stones = Effect.suspend(() =>
      Effect.map(
        sql
          .unsafe(`SELECT 1 AS found WHERE to_regclass(${literal(table)}) IS NOT NULL`)
          .pipe(rows("looking for the purged streams", Schema.Struct({}))),
        (found) => (found.length > 0 ? table : PurgeText.noStones)
      )
    )

    const asked = <A, I>(
      action: string,
      schemaOf: Schema.Schema<A, I>,
      text: string,
      params: ReadonlyArray<unknown> = []
    ) => sql.unsafe(text, params).pipe(rows(action, schemaOf))

    const consumersAre = Effect.map(tables, (there) => there.has("kumiko_event_consumers"))

    const owing = (text: string) =>
      Effect.map(asked("looking at the consumers", Owing, text), (found) => found.map((row) => new ConsumerBehind(row)))

    return StreamPurges.of({
      ago: (age) =>
        Effect.map(
          asked(
            "asking for the time",
            Schema.Struct({ at: Schema.String }),
            `SELECT to_char(greatest(clock_timestamp() - interval '1 millisecond' * ${Math.min(longest, Math.round(Duration.toMillis(age)))},
              '0001-01-01Z'::timestamptz) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at`
          ),
          (found) => found[0]?.at ?? ""
        ),
      lacking: Effect.flatMap(tables, (there) => {
        const wanted = rights
          .filter(([name]) => name === "kumiko_events" || name === "kumiko_archived_streams" || there.has(name))
          .flatMap(([name, right]) => [
            { name: nameOf(there, name), right },
            { name: nameOf(there, name), right: "SELECT" }
          ])
        return Effect.map(
          asked(
            "looking at the privileges",
            Schema.Struct({ table: Schema.String, right: Schema.String }),
            `SELECT w.name AS table, w.right FROM jsonb_to_recordset($1::jsonb) AS w (name text, "right" text)
              WHERE to_regclass(w.name) IS NOT NULL AND NOT has_table_privilege(to_regclass(w.name), w.right)`,
            [JSON.stringify(wanted)]
          ),
          (found) => found.map((row) => new RightMissing(row))
        )
      }),
      count: (selection) =>
        Effect.flatMap(stones, (of) =>
          Effect.map(
            asked(
              "counting streams",
              Schema.Struct({ count: Schema.NumberFromString }),
              PurgeText.count(selection, of)
            ),
            (found) => found[0]?.count ?? 0
          )
        ),
      behind: (selection) =>
        Effect.flatMap(Effect.all([consumersAre, stones]), ([are, of]) =>
          are ? owing(PurgeText.behind(selection, of)) : Effect.succeed([])
        ),
      eventTypes: (selection, among) =>
        Effect.flatMap(stones, (of) =>
          Effect.map(
            asked(
              "looking at the types of events",
              Schema.Struct({ type: Schema.String }),
              PurgeText.eventTypes(selection, of),
              [JSON.stringify(among)]
            ),
            (found) => found.map(({ type }) => type).toSorted()
          )
        ),
      due: (selection, after, limit) =>
        Effect.flatMap(stones, (of) =>
          Effect.map(
            asked("looking for streams to be purged", Due, PurgeText.due(selection, of, after, limit)),
            Arr.map(toDue)
          )
        ),
      settled: (timeout) => Settling.wait(sql, timeout),
      lock: (selection, streams) =>
        Effect.gen(function* () {
          const of = yield* stones
          const locked = yield* asked("locking archive marks", Due, PurgeText.lock(selection), [inputOf(streams)])
          if (locked.length === 0) return []
          // Asked again under the lock: a purge that was at them before has committed by now.
          const due = yield* asked("looking for streams to be purged", Due, PurgeText.stillDue(of), [
            inputOf(locked.map(toDue))
          ])
          return due.map(toDue)
        }),
      digests: (streams, withLines) =>
        Effect.map(
          asked("looking at events", Digest, PurgeText.digests(withLines), [inputOf(streams)]),
          Arr.map(withLines ? toExported : toDigest)
        ),
      remove: (streams, by) =>
        Effect.map(
          asked("deleting events", Sums, PurgeText.remove(table, by), [
            inputOf(streams),
            listOf(streams),
            ...Option.toArray(Option.map(by, () => stonesOf(streams)))
          ]),
          ([gone = none]) => gone
        ),
      along: (streams) =>
        Effect.flatMap(tables, (there) =>
          [...PurgeText.snapshotTables, ...PurgeText.letterTables].some(there.has)
            ? Effect.map(
                asked("deleting what knows the events", Along, PurgeText.along(there), [inputOf(streams)]),
                ([found]) => ({ snapshots: found?.snapshots ?? 0, deadLetters: found?.dead_letters ?? 0 })
              )
            : Effect.succeed({ snapshots: 0, deadLetters: 0 })
        ),
      owing: (newest) =>
        Effect.flatMap(consumersAre, (are) =>
          are ? Effect.zipRight(lockConsumers(sql), owing(PurgeText.owed(newest))) : Effect.succeed([])
        ),
      over: (timeout) =>
        Effect.flatMap(OpenTransactions.open(sql), (open) => OpenTransactions.over(sql, open, timeout)),
      leftover: (runId) =>
        Effect.flatMap(stones, (of) =>
          Effect.map(
            asked("looking for what was left", Left, PurgeText.leftover(of, runId)),
            Arr.map((row) => ({ tenantId: row.tenant_id, aggregateId: row.aggregate_id, events: row.events }))
          )
        )
    })
  }
)

/** In milliseconds: some two thousand years. */
const longest = 6e13

/**
 * Keeps consumers from changing. It comes behind the deletions, so that they wait for no longer than the COMMIT takes; one that is in the middle
 * of its work is waited for, a little in this transaction, and then in another.
 */
const lockConsumers = (sql: PgSql["Type"]): Effect.Effect<void, DatabaseError> =>
  sql
    .withTransaction(
      Effect.zipRight(
        sql.unsafe("SELECT set_config('lock_timeout', '30', true)"),
        sql.unsafe("LOCK TABLE kumiko_event_consumers IN SHARE MODE")
      )
    )
    .pipe(
      Effect.retry({
        schedule: Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(20)),
        while: (error) => Option.contains(sqlState(error), TableLock.notAvailable)
      }),
      Effect.mapError(databaseError("locking the consumers")),
      Effect.asVoid
    )

const nameOf = (there: StreamTables.StreamTables, name: (typeof rights)[number][0]): string =>
  name === "kumiko_events" || name === "kumiko_archived_streams" ? name : there.name(name)

const inputOf = (streams: ReadonlyArray<DueStream>): string =>
  JSON.stringify(
    streams.map(({ aggregateId, aggregateType, tenantId }) => ({
      tenant_id: tenantId,
      aggregate_id: aggregateId,
      aggregate_type: aggregateType
    }))
  )

/** What their tombstones say. */
const stonesOf = (streams: ReadonlyArray<StreamDigest>): string =>
  JSON.stringify(
    streams.map(({ aggregateId, aggregateType, events, sha256, tenantId, version }) => ({
      tenant_id: tenantId,
      aggregate_id: aggregateId,
      aggregate_type: aggregateType,
      version,
      events,
      sha256
    }))
  )

/** The ids of the aggregates, as an array of the server's. */
const listOf = (streams: ReadonlyArray<DueStream>): string =>
  `{${streams.map(({ aggregateId }) => aggregateId).join(",")}}`

const none: RowSums = { events: 0, ids: 0n, writes: 0n }

const toDue = (row: typeof Due.Type): DueStream => ({
  tenantId: row.tenant_id,
  aggregateId: row.aggregate_id,
  aggregateType: row.aggregate_type
})

const toDigest = (row: typeof Digest.Type): StreamDigest => digestOf(row, row.said, Option.none())

const toExported = (row: typeof Digest.Type): StreamDigest => {
  const lines = Buffer.from(row.said, "utf8")
  return digestOf(row, createHash("sha256").update(lines).digest("hex"), Option.some(lines))
}

const digestOf = (row: typeof Digest.Type, sha256: string, lines: StreamDigest["lines"]): StreamDigest => ({
  ...toDue(row),
  events: row.events,
  ids: row.ids,
  writes: row.writes,
  version: row.version,
  newest: Option.fromNullable(row.newest),
  types: Arr.dedupe(row.types),
  aggregateTypes: Arr.dedupe(row.aggregate_types),
  sha256,
  lines
})
