/**
 * One batch of a seed that is applied in batches: the rows behind its cursor, and what is done with them.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { QueryError, Row } from "../operation/QueryError.js"
import type { SeedContext } from "./SeedContext.js"

/** The key of a row, by which rows are in order: text, or a number that JavaScript holds exactly. */
export type Key = string | number

/** Rows of a query, in the order of a column that is unique and never null. */
export interface SqlSource {
  /** One reading statement, without ORDER BY and LIMIT of its own. */
  readonly sql: string
  /** The name of the column, as the statement gives it. */
  readonly key: string
}

/** What a batched seed is made of. */
export interface Options<R0, E, R> {
  /** The next rows behind a key, in its order; none when there are no more. */
  readonly source: (after: Option.Option<string>, size: number) => Effect.Effect<ReadonlyArray<R0>, E, R>
  readonly key?: ((row: R0) => Key) | undefined
  readonly count?: Effect.Effect<number, E, R> | undefined
  readonly process: (rows: ReadonlyArray<R0>, context: SeedContext["Type"]) => Effect.Effect<unknown, E, R>
  readonly size?: number | undefined
}

/** How far a batch came. */
export interface Made {
  /** The key of its last row; none of a batch without rows. */
  readonly cursor: Option.Option<string>
  readonly rows: number
  /** How many rows there are in all, where that was asked for and the source can count. */
  readonly total: Option.Option<number>
  /** Whether there are no more. */
  readonly isLast: boolean
}

/** The batch that a seed is run for: by default the first, of which nobody is told. */
export class CurrentBatch extends Context.Reference<CurrentBatch>()("effect-es-ops/CurrentBatch", {
  defaultValue: (): {
    /** The key behind which it begins. */
    readonly after: Option.Option<string>
    readonly wantsTotal: boolean
    readonly made: (made: Made) => Effect.Effect<void>
  } => ({ after: Option.none(), wantsTotal: false, made: () => Effect.void })
}) {}

/** The source of a batched seed gave rows that cannot be put in order. */
export class BatchSourceError extends Schema.TaggedError<BatchSourceError>()("BatchSourceError", {
  reason: Schema.String
}) {
  override get message(): string {
    return `its source ${this.reason}`
  }
}

/** How many rows a batch has unless the seed says otherwise. */
export const defaultSize = 500

/** Runs the current batch. */
export const run = <R0, E, R>(
  options: Options<R0, E, R>,
  context: SeedContext["Type"]
): Effect.Effect<void, E | BatchSourceError, R> =>
  Effect.gen(function* () {
    const { after, made, wantsTotal } = yield* CurrentBatch
    const { count, process, size = defaultSize, source } = options
    if (!Number.isSafeInteger(size) || size < 1)
      return yield* new BatchSourceError({
        reason: `cannot be read in batches of ${size} rows: say a whole number of at least 1`
      })
    const total = wantsTotal && count !== undefined ? Option.some(yield* count) : Option.none<number>()
    const found = (yield* source(after, size)).slice(0, size)
    const last = found.at(-1)
    if (last === undefined) return yield* made({ cursor: after, rows: 0, total, isLast: true })
    const cursor = yield* keyOf(last, options.key)
    if (Option.contains(after, cursor))
      return yield* new BatchSourceError({
        reason: `gave the row of key ${cursor} again: it is to give those behind it`
      })
    yield* process(found, context)
    yield* made({ cursor: Option.some(cursor), rows: found.length, total, isLast: false })
  })

/** The source of a query as a function of the cursor, and its count. */
export const ofSql = (
  { key, sql }: SqlSource,
  context: SeedContext["Type"]
): {
  readonly source: (after: Option.Option<string>, size: number) => Effect.Effect<ReadonlyArray<Row>, QueryError>
  readonly count: Effect.Effect<number, QueryError>
} => {
  const text = sql.trim().replace(/;$/, "")
  const column = `"${key.replaceAll('"', '""')}"`
  return {
    source: (after, size) =>
      context.query(
        `SELECT s.*, s.${column}::text AS es_ops_key FROM (${text}) AS s ${Option.isSome(after) ? `WHERE s.${column} > $1` : ""}
          ORDER BY s.${column} LIMIT ${size}`,
        Option.toArray(after)
      ),
    count: Effect.map(context.query(`SELECT count(*)::text AS es_ops_count FROM (${text}) AS s`), ([row]) =>
      Number(row?.["es_ops_count"] ?? 0)
    )
  }
}

/** The key of a row that `ofSql` gave. */
export const sqlKey = (row: unknown): Key =>
  Predicate.hasProperty(row, "es_ops_key") && Predicate.isString(row.es_ops_key) ? row.es_ops_key : NaN

/** Whether a source is a query. */
export const isSql = (source: unknown): source is SqlSource => Predicate.hasProperty(source, "sql")

/** The key of a row, as the cursor keeps it. */
const keyOf = <R0>(row: R0, key: ((row: R0) => Key) | undefined): Effect.Effect<string, BatchSourceError> => {
  const found = key === undefined ? (Predicate.hasProperty(row, "key") ? row.key : undefined) : key(row)
  return Predicate.isString(found) || (Predicate.isNumber(found) && Number.isFinite(found))
    ? Effect.succeed(`${found}`)
    : new BatchSourceError({ reason: "gave a row without a key: say `key`, or give rows that have one" })
}
