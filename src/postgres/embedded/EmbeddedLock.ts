/**
 * One process at a time in an embedded database's folder: two would lose rows without an error.
 *
 * Every process that wants the folder puts a claim of its own name there, then looks at the others'. A lock of a living process turns it
 * back, and so does a claim of a lower name; a higher one is waited out, as its process gives way or has the lock by then. Each writes
 * before it reads, so one process goes on. As no name is used twice, what a dead process left can be removed without harm.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { kill, pid } from "node:process"
import { describe } from "../../operation/ErrorDescription.js"
import { DatabaseError } from "../../operation/OperationError.js"

/** Who holds the folder. */
const Owner = Schema.Struct({
  host: Schema.String,
  /** Changes with every start of the host; empty where the system does not tell. */
  bootId: Schema.String,
  pid: Schema.Number,
  /** Start of the process in clock ticks since boot; empty where the system does not tell. */
  startTime: Schema.String
})
type Owner = typeof Owner.Type

/** Another process has the embedded database open. */
export class EmbeddedInUse extends Schema.TaggedError<EmbeddedInUse>()("EmbeddedInUse", {
  folder: Schema.String,
  file: Schema.String,
  host: Schema.String,
  pid: Schema.Number
}) {
  override get message(): string {
    return `the embedded database ${this.folder} is in use by process ${this.pid} on ${this.host}. If that process is gone, remove its lock: rm '${this.file}'`
  }
}

/** Holds the folder until the scope is closed. Waits for another holder as long as `timeout`. */
export const acquire = (
  folder: string,
  timeout: Duration.Duration
): Effect.Effect<void, EmbeddedInUse | DatabaseError, Scope.Scope> =>
  Effect.gen(function* () {
    const self = yield* describeSelf
    const mentioned = yield* Ref.make(Option.none<number>())
    const mention = (error: EmbeddedInUse | DatabaseError) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (error._tag !== "EmbeddedInUse") return
        if (Option.exists(yield* Ref.get(mentioned), (at) => now - at < 10_000)) return
        yield* Ref.set(mentioned, Option.some(now))
        yield* Effect.logInfo(`waits for process ${error.pid} on ${error.host}, which has ${folder} open`)
      })
    const polling = Schedule.jittered(Schedule.spaced("100 millis"))
    yield* Effect.acquireRelease(
      claim(folder, self).pipe(
        Effect.tapError(mention),
        Effect.retry({
          schedule: Duration.equals(timeout, Duration.zero) ? Schedule.stop : Schedule.upTo(polling, timeout),
          while: (error) => error._tag === "EmbeddedInUse"
        }),
        Effect.interruptible
      ),
      (file) => Effect.ignore(files(() => rm(file, { force: true })))
    )
  })

/** Puts our claim, and makes it the lock unless another process comes first; answers with the lock's file. */
const claim = (folder: string, self: Owner): Effect.Effect<string, EmbeddedInUse | DatabaseError> =>
  Effect.gen(function* () {
    const name = randomUUID()
    const [draft, mine, lock] = [
      join(folder, `.draft-${name}`),
      join(folder, `claim-${name}.json`),
      join(folder, `lock-${name}.json`)
    ]
    const move = (from: string, to: string) => files(() => rename(from, to))
    yield* files(() => writeFile(draft, JSON.stringify(self), { mode: 0o600 }))
    yield* move(draft, mine)
    // A higher claim goes away or becomes the lock in no time, unless its process is stopped.
    const settled = (looks: number): Effect.Effect<void, EmbeddedInUse | DatabaseError> =>
      Effect.flatMap(
        refuseOthers(folder, `claim-${name}.json`, self),
        Option.match({
          onNone: () => Effect.void,
          onSome: (higher) =>
            looks === 0 ? Effect.fail(higher) : Effect.zipRight(Effect.sleep("10 millis"), settled(looks - 1))
        })
      )
    return yield* settled(100).pipe(
      Effect.zipRight(move(mine, lock)),
      Effect.as(lock),
      Effect.onError(() => Effect.ignore(files(() => rm(mine, { force: true }))))
    )
  })

/** Gives way to a lock and to a lower claim, and tells of a higher claim; removes what dead processes left. */
const refuseOthers = (
  folder: string,
  mine: string,
  self: Owner
): Effect.Effect<Option.Option<EmbeddedInUse>, EmbeddedInUse | DatabaseError> =>
  Effect.gen(function* () {
    const names = yield* files(() => readdir(folder))
    let higher = Option.none<EmbeddedInUse>()
    for (const other of names.filter((found) => /^(claim|lock)-/.test(found) && found !== mine)) {
      const file = join(folder, other)
      const owner = yield* readOwner(file)
      // Gone, or a lock by now: the next look tells.
      const { host, pid } = Option.getOrElse(owner, () => self)
      const inUse = new EmbeddedInUse({ folder, file, host, pid })
      if (Option.isNone(owner)) higher = Option.some(inUse)
      else if (!(yield* isAlive(owner.value, self))) yield* files(() => rm(file, { force: true }))
      else if (other.startsWith("lock-") || other < mine) return yield* inUse
      else higher = Option.some(inUse)
    }
    return higher
  })

/** A claim that is gone meanwhile is nobody's; one that cannot be read is kept, as nobody knows whose it is. */
const readOwner = (file: string): Effect.Effect<Option.Option<Owner>, EmbeddedInUse> =>
  files(() => readFile(file, "utf8")).pipe(
    Effect.option,
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: (text) => Effect.asSome(Schema.decodeUnknown(Schema.parseJson(Owner))(text))
      })
    ),
    Effect.mapError(() => new EmbeddedInUse({ folder: file, file, host: "an unknown host", pid: 0 }))
  )

/** A process of another host cannot be looked at, so it lives; one of an earlier start of this host does not. */
const isAlive = (owner: Owner, self: Owner): Effect.Effect<boolean> => {
  if (owner.host !== self.host) return Effect.succeed(true)
  if (owner.bootId !== self.bootId) return Effect.succeed(false)
  return Effect.map(startTimeOf(owner.pid), (startTime) =>
    Option.match(startTime, { onNone: () => false, onSome: (found) => found === owner.startTime })
  )
}

const describeSelf: Effect.Effect<Owner> = Effect.gen(function* () {
  const bootId = yield* files(() => readFile("/proc/sys/kernel/random/boot_id", "utf8")).pipe(
    Effect.orElseSucceed(() => "")
  )
  const startTime = yield* startTimeOf(pid)
  return { host: hostname(), bootId: bootId.trim(), pid, startTime: Option.getOrElse(startTime, () => "") }
})

/** When a process started; none if there is no such process, empty where only its existence can be told. */
const startTimeOf = (process: number): Effect.Effect<Option.Option<string>> =>
  files(() => readFile(`/proc/${process}/stat`, "utf8")).pipe(
    // Field 22 of proc(5), counted after the command's name, which may hold spaces.
    Effect.map((stat) => Option.fromNullable(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19])),
    Effect.orElseSucceed(() => (exists(process) ? Option.some("") : Option.none()))
  )

const exists = (process: number): boolean => {
  try {
    return kill(process, 0)
  } catch (error) {
    return describe(error).code === "EPERM"
  }
}

const files = <A>(run: () => Promise<A>): Effect.Effect<A, DatabaseError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => {
      const { code, message } = describe(cause)
      return new DatabaseError({
        action: "locking the embedded database",
        id: Option.none(),
        code: Option.fromNullable(code),
        reason: message,
        connectionLost: false,
        cause
      })
    }
  })
