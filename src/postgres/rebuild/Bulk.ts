/**
 * The bulk: every event up to one id is folded into the empty shadow, which is indexed then.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BatchSize from "../../operation/BatchSize.js"
import type { Fold, Rows } from "../../event/FoldDefinition.js"
import * as RunLanes from "../../operation/RunLanes.js"
import * as ProjectionStatus from "../../projection/ProjectionStatus.js"
import { databaseError } from "../client/PgError.js"
import { PgSql } from "../client/PgSql.js"
import * as BulkByAggregate from "./BulkByAggregate.js"
import * as BulkByKey from "./BulkByKey.js"
import * as RebuildState from "./RebuildState.js"
import { Outdated } from "./CutOver.js"
import type { Shadow } from "./Shadow.js"
import * as Shadows from "./Shadow.js"
import { send } from "./Shadow.js"
import type { ShadowTable } from "./ShadowTable.js"

/** Folds the bulk, from where it stands; answers with where the shadow stands then. */
export const run = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, state: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const cursorOf = ({ at, isIndexed }: BulkByKey.Standing) => RebuildState.cursorOf({ ...state, at, isIndexed })
    if (work._tag === "Rows") yield* BulkByKey.rows(shadow, table, work, state.upTo, state, cursorOf, yield* size)
    else if (!work.byAggregate) yield* BulkByKey.fold(shadow, table, work, state.upTo, state, cursorOf)
    else
      yield* Effect.tapError(lanes(shadow, table, work, state), (error) =>
        error instanceof RunLanes.LaneFailed && error.error._tag === "RebuildUnsettled"
          ? new Outdated({ reason: notWhole })
          : whole(shadow)
      )
    yield* whole(shadow)
    return yield* loaded(shadow, table, state)
  })

const lanes = (shadow: Shadow, table: ShadowTable, work: Fold, state: RebuildState.RebuildState) =>
  RunLanes.work(
    shadow.run,
    {
      operationType: ProjectionStatus.operationType,
      knows: () => Effect.succeed(true),
      work: (run, name) => lane({ ...shadow, run }, table, work, state, name)
    },
    state.lanes.map(({ name }) => name)
  )

/** Why a shadow is no use any more. */
export const notWhole = "the server was started again, or the table was altered"

/** A server that crashed between two batches has emptied the shadow. */
const whole = (shadow: Shadow) =>
  Effect.filterOrFail(
    Shadows.isWhole(shadow),
    (isWhole) => isWhole,
    () => new Outdated({ reason: notWhole })
  )

/** Folds one lane, from where it stands. */
export const lane = (shadow: Shadow, table: ShadowTable, work: Fold, state: RebuildState.RebuildState, named: string) =>
  Effect.forEach(
    state.lanes.filter(({ name }) => name === named),
    ({ from, name, to }) =>
      Effect.flatMap(size, (own) => BulkByAggregate.lane(shadow, table, work, state.upTo, { from, name, to }, own)),
    { discard: true }
  )

const size = BatchSize.make({ initial: 4000, min: 100, max: 200_000 })

/** Indexes what was loaded, unless rows had to be looked for before. */
const loaded = (shadow: Shadow, table: ShadowTable, state: RebuildState.RebuildState) =>
  shadow.run.batch(
    Effect.gen(function* () {
      const sql = yield* PgSql
      const index = send("indexing the shadow", BulkByKey.indexes(table))
      if (!(yield* hasIndex(table)))
        yield* Effect.catchTag(sql.withTransaction(index), "SqlError", (error) =>
          Effect.fail(databaseError("indexing the shadow")(error))
        ).pipe(
          Effect.catchIf(
            (error) => Option.contains(error.code, "23505"),
            () => Effect.zipRight(send("removing rows that came twice", BulkByKey.distinct(table)), index)
          )
        )
      const next = { ...state, stage: "rounds" as const, at: state.upTo, isIndexed: true }
      return { value: next, phase: "rounds", cursor: RebuildState.cursorOf(next) }
    })
  )

const hasIndex = ({ rows }: ShadowTable) =>
  Effect.flatMap(PgSql, (sql) =>
    sql.unsafe(`SELECT FROM pg_index WHERE indrelid = '${rows}'::regclass`).pipe(
      Effect.map((found) => found.length > 0),
      Effect.mapError(databaseError("looking at the shadow"))
    )
  )
