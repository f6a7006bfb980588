/**
 * The cut-over: one transaction, tried again until it gets its lock, in which the live table takes over what was computed.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type { FoldError } from "../../event/FoldDefinition.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { KeyRow } from "../../projection/KeyFold.js"
import { CutOverTimeout } from "../../projection/RebuildProblem.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import { PgSql, rows } from "../client/PgSql.js"
import * as KeyFolding from "./KeyFolding.js"
import * as LiveTables from "./LiveTable.js"
import type { Shadow } from "./Shadow.js"
import { send } from "./Shadow.js"
import * as ShadowEvents from "./ShadowEvents.js"
import type { ShadowTable } from "./ShadowTable.js"
import { literal } from "../client/SqlText.js"

/** What was computed is not what is needed any more: the rebuild begins anew. */
export class Outdated extends Schema.TaggedError<Outdated>()("Outdated", { reason: Schema.String }) {}

/** Folding under the lock took longer than writers may be stopped: more is to be folded before. */
export class TooSlow extends Schema.TaggedError<TooSlow>()("TooSlow", {}) {}

/** How long a try waits for its lock, in milliseconds: everybody who comes later waits as long. */
const patience = 30

/**
 * What the transaction goes by. The live rows were compared just now, and are in memory: a few of them are cheaper found by their index than by
 * reading all (PostgreSQL manual, "Planner Cost Constants": both costs are lowered where data is cached).
 */
const settings = Object.entries({
  lock_timeout: `${patience}`,
  synchronous_commit: "local",
  random_page_cost: "0.1",
  seq_page_cost: "0.1"
}).map(([name, value]) => `set_config('${name}', '${value}', true)`)

/** Locks the tables, and looks whether they are what they were. Inside a batch. */
export const lock = (shadow: Shadow, strength: "EXCLUSIVE" | "ACCESS EXCLUSIVE") =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const names = shadow.tables.map(({ live }) => live.name).join(", ")
    yield* send("locking the table", [`SELECT ${settings.join(", ")}`, `LOCK TABLE ${names} IN ${strength} MODE`])
    for (const { live } of shadow.tables)
      if ((yield* LiveTables.shapeOf(sql, live.table)) !== live.shape)
        return yield* new Outdated({ reason: `${live.table.name} was altered` })
  })

/** What the keys of all events above `m` that can be seen are to have, and of streams that were archived or restored. Inside a batch. */
export const touched = (shadow: Shadow, table: ShadowTable, m: bigint) =>
  Effect.gen(function* () {
    const { work } = shadow.target
    if (work._tag === "Apply") return []
    const changed = yield* ShadowEvents.syncArchived(shadow)
    if (changed.length > 0 && !isByAggregate(shadow.target))
      return yield* new Outdated({ reason: "streams were archived or restored" })
    const ids = Arr.dedupe(changed.map(({ aggregateId }) => aggregateId))
    yield* KeyFolding.refold(shadow, table, work, ids, m)
    const events = yield* ShadowEvents.above(shadow, m, "known")
    const also = KeyFolding.keysOfAggregates(table, ids)
    const found: ReadonlyArray<KeyRow> = yield* KeyFolding.wanted(shadow, table, work, events, { also })
    return found
  })

/** The tries of one cut-over, through all its rounds: how many there were, and since when, in milliseconds. */
export interface Tries {
  readonly count: Ref.Ref<number>
  readonly since: number
}

/** None were made yet. */
export const untried: Effect.Effect<Tries> = Effect.all({ count: Ref.make(0), since: Clock.currentTimeMillis })

/** Tries until the lock is there; between tries nobody is held up. None after ten seconds: more is to be folded before. */
export const tried = <A, E, R>(
  shadow: Shadow,
  attempt: Effect.Effect<A, E | DatabaseError, R>,
  { count, since }: Tries
): Effect.Effect<Option.Option<A>, E | DatabaseError | CutOverTimeout, R | PgSql> =>
  Effect.gen(function* () {
    const bound = Duration.toMillis(shadow.policy.lockTimeout)
    const from = yield* Clock.currentTimeMillis
    for (;;) {
      const tries = yield* Ref.updateAndGet(count, (made) => made + 1)
      const result = yield* Effect.either(Effect.asSome(attempt).pipe(Effect.catchIf(isBusy, () => Effect.succeedNone)))
      if (result._tag === "Left") return yield* Effect.fail(result.left)
      if (Option.isSome(result.right)) return result.right
      const now = yield* Clock.currentTimeMillis
      const holders = yield* inTheWay(shadow)
      if (tries % 20 === 1)
        yield* Effect.logInfo(`tries the cut-over, ${tries} so far; in the way: ${holders.join("; ")}`)
      if (now - since >= bound)
        return yield* new CutOverTimeout({
          table: namesOf(shadow),
          tries,
          waitedMs: Math.round(now - since),
          holders
        })
      if (now - from >= 10_000) return Option.none()
      yield* Effect.sleep(yield* Random.nextIntBetween(100, 100 + Math.min(900, tries * 50)))
    }
  })

/** lock_not_available, deadlock_detected. */
const isBusy = (error: unknown): boolean =>
  error instanceof DatabaseError && Option.exists(error.code, (code) => code === "55P03" || code === "40P01")

const namesOf = ({ tables }: Shadow): string => tables.map(({ live }) => live.table.name).join(", ")

const Holder = Schema.Struct({ holder: Schema.String })

/** Who holds a lock of the tables, as a person can find them. */
const inTheWay = ({ tables }: Shadow): Effect.Effect<ReadonlyArray<string>, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(
        `SELECT concat(CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE 'server process ' || l.pid END,
            ' (' || nullif(concat_ws(', ', nullif(min(a.application_name), ''), host(min(a.client_addr))), '') || ')',
            ' since ' || to_char(min(a.xact_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            ', last statement: ' || left(regexp_replace(nullif(min(a.query), '<insufficient privilege>'), '\\s+', ' ', 'g'), 120)) AS holder
        FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.relation IN (${tables.map(({ live }) => `to_regclass(${literal(live.name)})`).join(", ")})
        GROUP BY l.pid, l.virtualtransaction ORDER BY l.pid LIMIT 10`
      )
      .pipe(rows("looking for who is in the way", Holder))
  ).pipe(Effect.map((found) => found.map(({ holder }) => holder)))

/** What can end a try besides the database. */
export type TryFailure = FoldError | Outdated | TooSlow
