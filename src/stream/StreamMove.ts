/**
 * Moves streams to another tenant, with everything that knows them: archive marks, snapshots, dead letters and read rows.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { Features } from "../event/Features.js"
import type { AppliedBy } from "../operation/Operation.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../operation/OperationError.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { RunLog } from "../operation/RunLog.js"
import type { RunRefused } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import { Transactor } from "../operation/Transactor.js"
import * as MoveDecision from "./MoveDecision.js"
import type { MoveProblem } from "./MoveProblem.js"
import { MovedTwice, MovesRefused, SameTenant } from "./MoveProblem.js"
import type { MoveReport } from "./MoveReport.js"
import * as MoveReports from "./MoveReport.js"
import * as MoveRun from "./MoveRun.js"
import * as MoveTrial from "./MoveTrial.js"
import type { Move, MoveState } from "./StreamMoves.js"
import { StreamMoves } from "./StreamMoves.js"
import { InvalidStreamId } from "./StreamProblem.js"

export type { Move } from "./StreamMoves.js"

/** Which streams, and how. */
export interface MoveOptions<out E = never, out R = never> {
  readonly moves: ReadonlyArray<Move> | Stream.Stream<Move, E, R>
  /** Whether a stream that has events on both tenants is put together, in the order of their ids, and numbered anew. Default: it is refused. */
  readonly merge?: boolean | undefined
  /** Begin anew, whatever an unfinished run of the same moves has. Default: no. */
  readonly restart?: boolean | undefined
  /** Default: `cli`. */
  readonly appliedBy?: AppliedBy | undefined
  /** Default: a line in the log every ten seconds. */
  readonly observer?: RunObserver | undefined
}

/** What moves did, and the run that they were. */
export interface MovesDone extends MoveReport {
  readonly runId: string
}

/** The services that moving requires. */
export type Services = MoveRun.Services | RunLog | OperationConfig

/** What moving would do: each batch of it is done, without the lock that writers wait for, and undone. Streams that are refused are in `failed`. */
export const plan = <E = never, R = never>(
  options: MoveOptions<E, R>
): Effect.Effect<MoveReport, E | DatabaseError | LockTimeout, R | MoveRun.Services | Transactor> =>
  Effect.gen(function* () {
    const { merge = false } = options
    const { projections } = yield* Features
    const { moves, unnamed } = distinct(yield* collected(options))
    const cursor = yield* MoveTrial.all({ moves, merge, projections, failed: unnamed.map(MoveRun.failedBy) })
    return MoveReports.reportOf(cursor)
  })

/**
 * Moves streams in small batches, while others write: each batch stops writers for milliseconds. A stream that cannot be moved is in `failed`
 * and does not stop the others; where none can be, the failure is `MovesRefused`. Event ids, payloads, metadata and dates stay as they are. An
 * append that comes later finds the stream gone from its old tenant; what transactions from before the move append there is put behind.
 *
 * @example
 * ```ts
 * import { StreamMove } from "effect-es-ops"
 *
 * export const move = StreamMove.run({
 *   moves: [
 *     {
 *       aggregateId: "0b8f6c52-1f0e-4c1d-8a58-61d9a7a0c001",
 *       from: "00000000-0000-4000-8000-000000000000",
 *       to: "7f3c5b1e-0d5a-4c3e-9f5e-2b1a6c8d9e10"
 *     }
 *   ]
 * })
 * ```
 */
export const run = <E = never, R = never>(
  options: MoveOptions<E, R>
): Effect.Effect<MovesDone, E | MovesRefused | OperationRun.RunError<MoveRun.MoveError>, R | Services> =>
  Effect.gen(function* () {
    const { merge = false } = options
    const { projections } = yield* Features
    const { decided, moves, refused, unnamed } = yield* prepared(options)
    const problems = refused.map(({ problem }) => problem)
    if (decided.length === 0 && Arr.isNonEmptyReadonlyArray(problems)) return yield* new MovesRefused({ problems })
    const params = { moves: digest(moves), streams: moves.length, merge }
    const { run: done } = yield* OperationRun.run<
      MoveReports.MoveCursor,
      MoveRun.MoveError | RunRefused,
      MoveRun.Services
    >({
      operationType: "stream-migration",
      name: digest(params).slice(0, 16),
      params,
      definition: digest(
        projections.map(({ archived, events, name, version }) => ({ name, events, archived, version }))
      ),
      access: { reads: [], changes: typesOf(decided) },
      tables: ["es_ops_projections"],
      restart: options.restart,
      appliedBy: options.appliedBy ?? "cli",
      marker: ({ failed, moved }) =>
        `${moved} streams moved to another tenant${failed.length === 0 ? "" : `, ${failed.length} failed`}`,
      observer: options.observer,
      pauses: ({ _tag }) => _tag === "MovesUnsettled",
      work: (handle) => MoveRun.work(handle, { moves, merge, projections, failed: unnamed.map(MoveRun.failedBy) }),
      drop: () => Effect.void
    })
    return { runId: done.id, ...MoveReports.reportOf(MoveReports.cursorOf(done.cursor)) }
  }).pipe(Effect.withSpan("StreamMove.run", { captureStackTrace: false }))

interface Refused {
  readonly move: Move
  readonly problem: MoveProblem
}

/** So many streams are looked at at a time. */
const lookSize = 100

/** The moves, each once, and what is to be done with each, or what keeps it from being done. */
const prepared = <E, R>(options: MoveOptions<E, R>) =>
  Effect.gen(function* () {
    const { merge = false } = options
    const port = yield* StreamMoves
    const { moves, unnamed } = distinct(yield* collected(options))
    const states = (yield* Effect.forEach(Arr.chunksOf(moves, lookSize), (some) => port.look(some))).flat()
    const decided: Array<{ readonly state: MoveState; readonly decision: MoveDecision.Decision }> = []
    const refused: Array<Refused> = [...unnamed]
    for (const state of states) {
      const decision = MoveDecision.decide(state, merge)
      if (Either.isRight(decision)) decided.push({ state, decision: decision.right })
      else refused.push({ move: state, problem: decision.left })
    }
    return { moves, unnamed, decided, refused }
  })

const collected = <E, R>({ moves }: MoveOptions<E, R>): Effect.Effect<ReadonlyArray<Move>, E, R> =>
  Stream.StreamTypeId in moves ? Effect.map(Stream.runCollect(moves), Arr.fromIterable) : Effect.succeed(moves)

const isUuid = Schema.is(Schema.UUID)

/** The moves in lower case, without those that are no moves, or are of a stream that another one is of. */
const distinct = (all: ReadonlyArray<Move>) => {
  const moves = new Map<string, Move>()
  const unnamed: Array<Refused> = []
  for (const given of all) {
    const move = {
      aggregateId: given.aggregateId.toLowerCase(),
      from: given.from.toLowerCase(),
      to: given.to.toLowerCase()
    }
    const { aggregateId, from, to } = move
    const before = moves.get(aggregateId)
    const invalid = [from, to].find((tenant) => !isUuid(tenant) || !isUuid(aggregateId))
    if (invalid !== undefined) {
      unnamed.push({ move, problem: new InvalidStreamId({ aggregateId, tenantId: invalid }) })
    } else if (from === to) unnamed.push({ move, problem: new SameTenant(move) })
    else if (before === undefined) moves.set(aggregateId, move)
    else if (before.from !== from || before.to !== to) unnamed.push({ move, problem: new MovedTwice(move) })
  }
  return { moves: [...moves.values()], unnamed }
}

const typesOf = (decided: ReadonlyArray<{ readonly state: MoveState }>): ReadonlyArray<string> =>
  Arr.dedupe(
    decided.flatMap(({ state: { source, target } }) =>
      Option.toArray(Option.orElse(source.aggregateType, () => target.aggregateType))
    )
  )

const digest = (value: unknown): string => createHash("sha256").update(JSON.stringify(value)).digest("hex")
