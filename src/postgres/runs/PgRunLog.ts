/**
 * `RunLog` on PostgreSQL: the tables of runs and lanes. Every write of an owner begins with the run's row, as it is in the owner's epoch.
 */
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { SqlError } from "@effect/sql/SqlError"
import { randomUUID } from "node:crypto"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { Replica } from "../../operation/Replica.js"
import type { Run, RunKey } from "../../operation/Run.js"
import * as Runs from "../../operation/Run.js"
import * as RunAdmission from "../../operation/RunAdmission.js"
import * as RunAttempt from "../../operation/RunAttempt.js"
import type { Begun, RunEnding, RunRefused, RunRequest } from "../../operation/RunLog.js"
import { RunLog } from "../../operation/RunLog.js"
import type { Restore } from "../../operation/Transactor.js"
import { Transactor } from "../../operation/Transactor.js"
import { databaseError, notStored, sqlState } from "../client/PgError.js"
import { alone } from "../client/DecoratedConnection.js"
import { decodeRows, PgSql, rows } from "../client/PgSql.js"
import * as PgTime from "../client/PgTime.js"
import { literal } from "../client/SqlText.js"
import * as TableLock from "../client/TableLock.js"
import * as LogStatement from "../log/LogStatement.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as RunRights from "./RunRights.js"
import * as RunRow from "./RunRow.js"
import * as RunStatement from "./RunStatement.js"
import * as RunTablesThere from "./RunTablesThere.js"
import type { RunDatabase } from "./RunTransaction.js"
import * as RunTransaction from "./RunTransaction.js"

type Requirements = PgSql | PgSchema | OperationConfig | OperationLock | Transactor | Replica

/** Runs in the tables that the settings' schema has, or the search path finds. */
export const make: Effect.Effect<RunLog["Type"], never, Requirements> = Effect.gen(function* () {
  const sql = yield* PgSql
  const schema = yield* PgSchema
  const config = yield* OperationConfig
  const owner = yield* Replica
  const there = yield* RunTablesThere.make
  const names = { runs: schema.kind("es_ops_runs"), lanes: schema.kind("es_ops_run_lanes") }
  const bound = Option.some(config.lockTimeout)
  const database: RunDatabase = {
    sql,
    config,
    host: owner.host,
    tables: [names.runs, names.lanes],
    waits: TableLock.watch(sql, { tables: [names.runs, names.lanes], access: "write", bound })
  }
  const reading = TableLock.watch(sql, { tables: [names.runs, names.lanes], access: "read", bound })
  const me = { host: owner.host, pid: owner.pid }

  /** The runs that meet a condition; none where there is no table. */
  const look = (condition: string): Effect.Effect<ReadonlyArray<Run>, DatabaseError> =>
    alone(
      sql,
      reading
    )(sql.unsafe(RunRow.select(there.located(), condition))).pipe(
      Effect.catchAll(noneIfMissing),
      rows("reading the runs", RunRow.RunRow),
      Effect.map((found) => found.map(RunRow.toRun))
    )

  const select = (action: string, condition: string) =>
    Effect.map(sql.unsafe(RunRow.select(there.located(), condition)).pipe(rows(action, RunRow.RunRow)), (found) =>
      found.map(RunRow.toRun)
    )

  const lanesOf = (id: string) =>
    Effect.map(
      sql.unsafe(RunRow.selectLanes(there.located(), id)).pipe(rows("reading the lanes", RunRow.LaneRow)),
      (found) => found.map(RunRow.toLane)
    )

  /** The run of this owner whose row was not found as it should be. */
  const refused = (run: RunKey): Effect.Effect<never, RunRefused> =>
    Effect.flatMap(look(`r.id = ${literal(run.id)}`), ([found]): Effect.Effect<never, RunRefused> =>
      found?.outcome === "cancelled" ? new Runs.RunCancelled({ id: run.id }) : new Runs.RunLost({ id: run.id })
    )

  /** One transaction of a run's owner: nothing in it is kept if the run is not its own any more. */
  const fenced = <A, E, R>(
    action: string,
    run: RunKey,
    strength: "KEY SHARE" | "UPDATE",
    work: Effect.Effect<RunTransaction.Closing<A>, E, R>,
    restore?: Restore
  ): Effect.Effect<A, E | RunRefused, R> =>
    RunTransaction.run(
      database,
      {
        action,
        name: `run ${run.id}`,
        opening: [RunStatement.fence(there.located().runs, run, strength)],
        work: (found): Effect.Effect<RunTransaction.Closing<A>, E | NotOwn, R> =>
          found.length === 1 ? work : new NotOwn()
      },
      restore
    ).pipe(
      Effect.catchAll((error): Effect.Effect<never, E | RunRefused> => {
        if (error instanceof NotOwn) return refused(run)
        if (error instanceof DatabaseError && Option.contains(error.code, RunStatement.laneElsewhere))
          return new Runs.RunLost({ id: run.id })
        if (error instanceof DatabaseError && Option.contains(error.code, RunStatement.notStored))
          return Effect.fail(notStored(action, names.runs))
        return Effect.fail(error)
      })
    )

  const beginIn = (request: RunRequest, found: ReadonlyArray<unknown>) =>
    Effect.gen(function* () {
      const unfinished = (yield* decode(found)).map(RunRow.toRun)
      const refusal = RunAdmission.refusal(request, unfinished)
      if (Option.isSome(refusal)) return yield* refusal.value
      const open = unfinished.find(RunAdmission.isOf(request))
      if (open?.isLive === true) return busy(open)
      yield* RunRights.check(sql, beginning, schema, there.located(), request)
      return yield* open === undefined ? insert(request) : takeOver(open)
    })

  const insert = (request: RunRequest) =>
    Effect.gen(function* () {
      const id = randomUUID()
      const ofThis = `r.operation_type = ${literal(request.operationType)} AND r.name = ${literal(request.name)}`
      const previous = yield* select(beginning, ofThis)
      yield* write(RunStatement.insert(there.located().runs, id, request, me))
      const [run] = yield* select(beginning, `r.id = ${literal(id)}`)
      if (run === undefined) return yield* notStored(beginning, names.runs)
      return closing({ _tag: "New", run, previous: Option.fromNullable(previous.at(-1)) })
    })

  /** Waits for the last batch of its owner before, but not for long: that is asked for again. */
  const takeOver = (open: Run) =>
    Effect.gen(function* () {
      yield* write("SET LOCAL lock_timeout = 500")
      const locked = yield* write(RunStatement.lockAbandoned(there.located().runs, open))
      if (locked.length === 0) return busy(open)
      yield* write(RunStatement.takeOver(there.located(), open.id, me))
      const [run] = yield* select(beginning, `r.id = ${literal(open.id)}`)
      if (run?.epoch !== open.epoch + 1) return yield* notStored(beginning, names.runs)
      const lanes = yield* lanesOf(open.id)
      return closing({ _tag: "Resumed", run, lanes })
    }).pipe(
      Effect.catchIf(
        (error) => error._tag === "DatabaseError" && Option.contains(error.code, TableLock.notAvailable),
        () => Effect.fail(new StillHeld(open))
      )
    )

  const write = (text: string) => Effect.mapError(sql.unsafe(text), databaseError(beginning))

  /** The statements that record an end, with the server's time. */
  const recordOf = (run: RunKey, ending: RunEnding) =>
    Effect.gen(function* () {
      const [ended] = yield* select(ended_, `r.id = ${literal(run.id)}`)
      const [now] = yield* sql
        .unsafe(
          `SELECT ${PgTime.select("at")}, (to_regclass(${literal(schema.attempts)}) IS NOT NULL)::text AS attempts
            FROM (SELECT clock_timestamp() AS at) AS t`
        )
        .pipe(rows(ended_, NowRow))
      if (ended === undefined || now === undefined) return yield* notStored(ended_, names.runs)
      const { attempt, marker } = RunAttempt.make(ended, ending, { owner, version: config.version, at: now.at })
      const attempts = now.attempts === "true" ? schema.attempts : undefined
      if (Option.isSome(marker))
        return LogStatement.recordInserts({ markers: schema.markers, attempts }, { marker: marker.value, attempt })
      return attempts === undefined ? [] : [LogStatement.attemptInsert(attempts, attempt)]
    })

  return RunLog.of({
    begin: Effect.fn("RunLog.begin")(function* (request, restore = identity) {
      yield* restore(there.ensure(request))
      return yield* RunTransaction.run(
        database,
        {
          action: beginning,
          name: `${request.operationType} ${request.name}`,
          opening: [RunStatement.beginInTurn, RunRow.select(there.located(), "r.outcome IN ('running', 'paused')")],
          work: (found) => beginIn(request, found)
        },
        restore
      ).pipe(Effect.catchTag("StillHeld", ({ run }) => Effect.succeed<Begun>({ _tag: "Busy", run })))
    }),
    join: (key) =>
      Effect.gen(function* () {
        const [run] = yield* look(`r.id = ${literal(key.id)}`)
        if (run?.epoch !== key.epoch || run.outcome !== "running") return yield* refused(key)
        return { run, lanes: yield* lanesOf(key.id) }
      }),
    renew: (run) =>
      alone(sql)(sql.unsafe(RunStatement.renew(there.located().runs, run))).pipe(
        Effect.mapError(databaseError("renewing the lease")),
        Effect.flatMap((renewed) => (renewed.length === 1 ? Effect.void : refused(run))),
        Effect.withSpan("RunLog.renew", { attributes: { run: run.id }, captureStackTrace: false })
      ),
    batch: (run, work) =>
      fenced(
        "committing a batch",
        run,
        "KEY SHARE",
        Effect.map(work, ({ value, ...made }) => ({
          value,
          statements: RunStatement.progress(there.located(), run, made)
        }))
      ).pipe(Effect.withSpan("RunLog.batch", { attributes: { run: run.id }, captureStackTrace: false })),
    end: (run, ending, work, restore) =>
      fenced(
        ended_,
        run,
        "UPDATE",
        Effect.zipRight(
          work,
          Effect.map(recordOf(run, ending), (record) => ({
            value: undefined,
            statements: [
              ...RunStatement.progress(there.located(), run, ending),
              RunStatement.end(there.located().runs, run, ending),
              ...record
            ]
          }))
        ),
        restore
      ).pipe(
        Effect.withSpan("RunLog.end", {
          attributes: { run: run.id, outcome: ending.outcome },
          captureStackTrace: false
        })
      ),
    clear: (run, work) =>
      RunTransaction.run(database, {
        action: "dropping what a run left",
        name: `run ${run.id}`,
        opening: [
          `SELECT id::text FROM ${there.located().runs} WHERE id = ${literal(run.id)} AND outcome NOT IN ('running', 'paused') FOR UPDATE`
        ],
        work: (found) => Effect.as(found.length === 1 ? work : Effect.void, { value: undefined, statements: [] })
      }),
    cancel: (id, appliedBy) =>
      Effect.gen(function* () {
        const [found] = yield* look(`r.id::text = ${literal(id)} AND r.outcome IN ('running', 'paused')`)
        if (found === undefined || !RunAdmission.isCancellable(found)) return Option.none()
        const ending: RunEnding = { outcome: "cancelled", error: Option.none(), appliedBy, marker: Option.none() }
        const isDone = yield* RunTransaction.run(database, {
          action: "cancelling a run",
          name: `run ${id}`,
          opening: [
            `SELECT FROM ${there.located().runs} WHERE id = ${literal(id)} FOR UPDATE`,
            RunStatement.cancel(there.located().runs, id)
          ],
          work: (cancelled) =>
            Effect.map(cancelled.length === 1 ? recordOf(found, ending) : Effect.succeed([]), (statements) => ({
              value: cancelled.length === 1,
              statements
            }))
        })
        return isDone ? Option.fromNullable((yield* look(`r.id = ${literal(id)}`))[0]) : Option.none()
      }),
    find: (id) => Effect.map(look(`r.id::text = ${literal(id)}`), ([found]) => Option.fromNullable(found)),
    unfinished: look("r.outcome IN ('running', 'paused')"),
    newest: (operationType) =>
      Effect.map(
        look(
          `r.operation_type = ${literal(operationType)} AND NOT EXISTS (SELECT FROM ${names.runs} AS n
            WHERE n.operation_type = r.operation_type AND n.name = r.name AND (n.started_at, n.id) > (r.started_at, r.id))`
        ),
        (found) => new Map(found.map((run) => [run.name, run]))
      )
  })
})

/** `RunLog` on PostgreSQL. */
export const layer: Layer.Layer<RunLog, never, Requirements> = Layer.effect(RunLog, make)

const beginning = "beginning a run"

const ended_ = "ending a run"

/** The row of the run is not that of its owner. */
class NotOwn extends Schema.TaggedError<NotOwn>()("NotOwn", {}) {}

/** A transaction of the owner before has not ended yet. */
class StillHeld {
  readonly _tag = "StillHeld"
  constructor(readonly run: Run) {}
}

const NowRow = Schema.Struct({ at: PgTime.Column, attempts: Schema.String })

const decode = decodeRows(beginning, RunRow.RunRow)

const closing = (value: Begun): RunTransaction.Closing<Begun> => ({ value, statements: [] })

const busy = (run: Run) => closing({ _tag: "Busy", run })

/** undefined_table: no run was begun here yet. */
const noneIfMissing = (error: SqlError): Effect.Effect<ReadonlyArray<never>, SqlError> =>
  Option.contains(sqlState(error), "42P01") ? Effect.succeed([]) : Effect.fail(error)
