/**
 * What the protocol costs as an Effect program without us: the very messages of seeds and writes over the application's client, each of which can
 * be left at once, with the spans, metrics and log lines that are promised of them, by nothing but Effect; and what else is promised of a write.
 */
import { SqlClient } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { Config, Effect, Layer, ManagedRuntime, Metric, MetricBoundaries, Schema } from "effect"
import { randomUUID } from "node:crypto"
import type { Work } from "./Rounds.js"
import { arena, byHand, insertOne, inserts } from "./SeedWorks.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"
import { oneWrite, singleWrites } from "./WriteWorks.js"

export type Message = readonly [text: string, params: Array<unknown>]

/** Cuts a new part off before each message that begins so. */
export const cut = (messages: ReadonlyArray<Message>, begins: RegExp): ReadonlyArray<ReadonlyArray<Message>> => {
  const parts: Array<Array<Message>> = []
  for (const message of messages) {
    const last = parts.at(-1)
    if (last === undefined || begins.test(message[0])) parts.push([message])
    else last.push(message)
  }
  return parts
}

export const aStep = /^BEGIN /
/** The first write of a step has the step's own savepoint. */
const aWrite = /^(?:RELEASE SAVEPOINT es_ops_\d+; )?SAVEPOINT es_ops_\d+/

/** The messages of what `open` opens, as an Effect program on a database of its own. */
export const messagesAsEffect = (world: World, open: Work["open"], writes: boolean) => async () => {
  const { close, floor, ours } = await open()
  await ours.prepare?.()
  const messages = await Worlds.sent(ours.run)
  const taken = cut(messages.slice(messages.findIndex(([text]) => aStep.test(text))), aStep)
  const made = await arena(world)
  const app = ManagedRuntime.make(Layer.merge(Worlds.client(made.url), Worlds.quiet))
  const turns = Effect.unsafeMakeSemaphore(1)
  const waiting: Step["waiting"] = new Set()
  const looking = Effect.sync(() => {
    for (const { since } of waiting)
      if (performance.now() - since > 30_000) throw new Error("a statement waits for long")
  }).pipe(Effect.delay("100 millis"), Effect.forever)
  const steps = Effect.flatMap(SqlClient.SqlClient, ({ reserve }) =>
    Effect.forEach(
      taken,
      (step, n) =>
        Effect.flatMap(reserve, (connection) =>
          Effect.forEach(
            cut(step, aWrite),
            (part) => (writes ? written({ connection, turns, waiting }, part) : send(connection, part)),
            { discard: true }
          )
        ).pipe(Effect.scoped, told(`${n}`)),
      { discard: true }
    )
  )
  const all = writes ? Effect.scoped(Effect.zipRight(Effect.forkScoped(looking), steps)) : steps
  return {
    floor,
    ours: { prepare: made.prepare, run: () => app.runPromise(all) },
    close: () => Promise.all([close(), app.dispose(), made.bare.end()])
  }
}

/** What every seed has around it: its flag, its spans, its metrics, a log line and the annotation of its logs. */
export const told =
  (id: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Config.string(`BENCH_SKIP_${id}`).pipe(
      Config.option,
      Effect.zipRight(effect),
      spanned("body"),
      spanned("claim"),
      spanned("step"),
      Effect.zipLeft(Metric.update(lockWait, 1)),
      Effect.zipLeft(Effect.annotateCurrentSpan({ outcome: "Applied", events: 0, durationMs: 1, waitedMs: 1 })),
      spanned("seed"),
      Effect.zipLeft(Metric.modify(pending, -1)),
      Effect.zipLeft(Metric.increment(through)),
      Effect.zipLeft(Metric.incrementBy(events, 0)),
      Effect.zipLeft(Metric.update(duration, 1)),
      Effect.zipLeft(
        Effect.annotateLogs(Effect.logInfo(`"${id}" applied`), { seed: id, outcome: "applied", duration: 1, events: 0 })
      ),
      Effect.annotateLogs("seed", id)
    )

const send = (connection: Connection, messages: ReadonlyArray<Message>) =>
  Effect.forEach(messages, ([text, params]) => Effect.disconnect(connection.executeRaw(text, params)), {
    discard: true
  })

/**
 * What is promised of every write: it takes its turn; its payload is checked, its event becomes JSON, and the row that is folded of it is checked
 * as well; its statements have the spans of the application's client, and one that waits for long is noticed.
 */
const written = ({ connection, turns, waiting }: Step, messages: ReadonlyArray<Message>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const payload = yield* Schema.decodeUnknown(Tenant)({ id: randomUUID(), key: "key", name: "name" })
    const event = JSON.stringify({ payload, metadata: { userId: "user", correlationId: randomUUID() } })
    for (const [text, params] of messages)
      yield* isInsert.test(text)
        ? watched(waiting, Effect.disconnect(sql.unsafe(text, params)))
        : Effect.disconnect(connection.executeRaw(text, params))
    const folded = yield* Schema.decodeUnknown(Told)(event)
    yield* Schema.encode(Tenant)(folded.payload)
  }).pipe(
    Effect.provideService(SqlClient.TransactionConnection, [connection, 0]),
    spanned("append"),
    spanned("write"),
    turns.withPermits(1)
  )

/** The connection of a step, whose turn it is there, and since when statements are waited for. */
interface Step {
  readonly connection: Connection
  readonly turns: Effect.Semaphore
  readonly waiting: Set<{ readonly since: number }>
}

/** One fiber looks after all that are waited for, which costs each of them less than a fiber and a timer of its own. */
const watched = <A, E, R>(waiting: Step["waiting"], statement: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const one = { since: performance.now() }
    waiting.add(one)
    return Effect.ensuring(
      statement,
      Effect.sync(() => waiting.delete(one))
    )
  })

const isInsert = /^INSERT /

const Tenant = Schema.Struct({ id: Schema.UUID, key: Schema.String, name: Schema.String })

const Told = Schema.parseJson(Schema.Struct({ payload: Tenant }))

export const spanned =
  (name: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.withSpan(effect, name, { captureStackTrace: false })

const through = Metric.counter("bench_seeds", { incremental: true })
const events = Metric.counter("bench_events", { incremental: true })
const pending = Metric.gauge("bench_pending")
const boundaries = MetricBoundaries.exponential({ start: 1, factor: 4, count: 10 })
const duration = Metric.histogram("bench_duration", boundaries)
const lockWait = Metric.histogram("bench_lock_wait", boundaries)

export const work = "the messages of that work with the spans, metrics and log lines of ours, as an Effect program"
const writing = "the messages of that work, each write in its turn, checked, folded and watched, as an Effect program"

export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "seed-committed-messages-effect",
    work,
    floor: "1,000 inserts, each committed",
    open: messagesAsEffect(world, inserts(world, insertOne), false)
  },
  {
    name: "seed-messages-effect",
    work,
    floor: "1,000 times BEGIN, lock, check, insert, marker, COMMIT",
    open: messagesAsEffect(world, inserts(world, byHand), false)
  },
  {
    name: "write-messages-effect",
    work: writing,
    floor: "the same statements in a transaction, 1,000 times",
    open: messagesAsEffect(world, oneWrite(world), true)
  },
  {
    name: "single-writes-messages-effect",
    work: writing,
    floor: "the same round trips by hand",
    open: messagesAsEffect(world, singleWrites(world), true)
  }
]
