/**
 * What the protocol costs as an Effect program without us: the very messages of seeds and writes over the application's client, each of which can
 * be left at once, with the spans, metrics and log lines that are promised of them, by nothing but Effect; and what else a write is promised to be.
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
  const steps = cut(messages.slice(messages.findIndex(([text]) => aStep.test(text))), aStep)
  const made = await arena(world)
  const app = ManagedRuntime.make(Layer.merge(Worlds.client(made.url), Worlds.quiet))
  const turns = Effect.unsafeMakeSemaphore(1)
  const all = Effect.flatMap(SqlClient.SqlClient, ({ reserve }) =>
    Effect.forEach(
      steps,
      (step, n) =>
        Effect.flatMap(reserve, (connection) =>
          Effect.forEach(
            cut(step, aWrite),
            (part) => (writes ? written(connection, turns, part) : send(connection, part)),
            {
              discard: true
            }
          )
        ).pipe(Effect.scoped, told(`${n}`)),
      { discard: true }
    )
  )
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
 * What every write is promised to be: it takes its turn, its payload is checked, its event is checked and told as JSON, it is folded into a row that
 * is checked as well, and its statements have the spans of the application's client, and do not wait for a lock for ever.
 */
const written = (connection: Connection, turns: Effect.Semaphore, messages: ReadonlyArray<Message>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const payload = yield* Schema.decodeUnknown(Tenant)({ id: randomUUID(), key: "key", name: "name" })
    const event = JSON.stringify({ payload, metadata: { userId: "user", correlationId: randomUUID() } })
    yield* send(
      connection,
      messages.filter(([text]) => !isInsert.test(text))
    )
    for (const [text, params] of messages.filter(([text]) => isInsert.test(text)))
      yield* Effect.timeout(Effect.disconnect(sql.unsafe(text, params)), lockTimeout)
    const folded = yield* Schema.decodeUnknown(Told)(event)
    yield* Schema.encode(Tenant)(folded.payload)
  }).pipe(
    Effect.provideService(SqlClient.TransactionConnection, [connection, 0]),
    spanned("append"),
    spanned("write"),
    turns.withPermits(1)
  )

const isInsert = /^INSERT /

const lockTimeout = "30 seconds"

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
const writing = "the messages of that work, each write in its turn, checked, folded and bounded, as an Effect program"

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
