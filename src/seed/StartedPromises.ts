/**
 * The promises that one run of an async seed is given: each is settled before the marker, and one that nobody waits for does not go unnoticed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { describe } from "../operation/ErrorDescription.js"
import * as StrayWrites from "./StrayWrites.js"
import { TrackedPromise } from "./TrackedPromise.js"
import * as UnhandledRejections from "./UnhandledRejections.js"

/** A write that `run` did not wait for, and that failed or came too late. */
export class NotAwaited extends Schema.TaggedError<NotAwaited>()("NotAwaited", {
  handler: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `not awaited: ${this.handler}: ${this.reason}`
  }
}

/** What a promise of the context rejects with: the failure as it was, with a code, and what was asked for. */
export class PromiseFailure extends Error {
  override readonly name: string
  readonly code: string
  constructor(
    /** The handler, or the name of the query. */
    readonly handler: string,
    override readonly cause: unknown,
    /** The run that gave the promise. */
    readonly run: object
  ) {
    const { _tag, code, message } = describe(cause)
    super(message.includes(handler) ? message : `${handler}: ${message}`)
    this.name = _tag
    this.code = code ?? _tag
  }
}

/** A promise that the seed was given. */
interface Started {
  readonly what: string
  readonly isWrite: boolean
  readonly promise: TrackedPromise<unknown>
  /** Settles when the work does, and never fails. */
  readonly done: Promise<Exit.Exit<unknown, unknown>>
  readonly stop: () => void
}

/** The promises of one run; made when it begins. */
export class StartedPromises {
  private readonly started: Array<Started> = []
  private readonly forgotten: Array<NotAwaited> = []
  /** `closed`: `run` has returned, and nothing more is started. `checked`: what is started now can fail the seed no more. */
  private state: "open" | "closed" | "checked" = "open"
  private readonly rejections: { readonly end: () => void }

  constructor(private readonly runtime: Runtime.Runtime<never>) {
    StrayWrites.expect()
    UnhandledRejections.answerFor((reason) => reason instanceof PromiseFailure)
    this.rejections = UnhandledRejections.watch((reason) => {
      if (!(reason instanceof PromiseFailure) || reason.run !== this) return false
      this.forgotten.push(new NotAwaited({ handler: reason.handler, reason: describe(reason.cause).message }))
      return true
    })
  }

  /** Whether nothing was started. */
  get areNone(): boolean {
    return this.started.length === 0
  }

  /** Starts a write or a query, `what` by its name. */
  start<A, E>(what: string, isWrite: boolean, effect: Effect.Effect<A, E>): Promise<A> {
    if (this.state !== "open") return this.refuse(what)
    const fiber = Runtime.runFork(this.runtime)(effect)
    const done = new Promise<Exit.Exit<A, E>>((resolve) => fiber.addObserver(resolve))
    const promise = new TrackedPromise<A>((resolve, reject) => {
      void done.then((exit) =>
        Exit.isSuccess(exit) ? resolve(exit.value) : reject(new PromiseFailure(what, Cause.squash(exit.cause), this))
      )
    })
    this.started.push({ what, isWrite, promise, done, stop: () => fiber.unsafeInterruptAsFork(fiber.id()) })
    return promise
  }

  /** Refuses what is started too late: nothing is written. Its rejection does not end the process, even where nobody handles it. */
  private refuse(what: string): Promise<never> {
    const late = new NotAwaited({ handler: what, reason: "it was started after run had returned" })
    this.forgotten.push(late)
    if (this.state === "checked")
      Runtime.runFork(this.runtime)(
        Effect.logError(`${late.message}: nothing of it was done, and the seed may be applied without it`)
      )
    return TrackedPromise.rejected(new PromiseFailure(what, late, this))
  }

  /** Lets nothing more be started. */
  readonly close: Effect.Effect<void> = Effect.sync(() => {
    if (this.state === "open") this.state = "closed"
  })

  /** Waits for all. */
  readonly settled: Effect.Effect<void> = Effect.promise(async () => {
    for (const { done } of this.started) await done
    // What goes on behind a write that settles, and what nobody handles, shows by the next turn of the event loop.
    await UnhandledRejections.nextTurn()
  })

  /** Fails for what failed or came too late and was not awaited; a write that succeeded so is a warning. */
  readonly refuseForgotten: Effect.Effect<void, NotAwaited> = Effect.gen(this, function* () {
    const written: Array<string> = []
    for (const { done, isWrite, promise, what } of this.started) {
      if (promise.isAwaited) continue
      const exit = yield* Effect.promise(() => done)
      if (Exit.isFailure(exit)) {
        return yield* new NotAwaited({ handler: what, reason: describe(Cause.squash(exit.cause)).message })
      }
      if (isWrite) written.push(what)
    }
    const [first] = this.forgotten
    if (first !== undefined) return yield* first
    yield* Effect.forEach(written, (what) => Effect.logWarning(`not awaited: ${what}; it was written all the same`))
    this.state = "checked"
  })

  /** Stops what still runs, and waits for it. */
  readonly abandon: Effect.Effect<void> = Effect.promise(async () => {
    for (const { stop } of this.started) stop()
    for (const { done } of this.started) await done
    await UnhandledRejections.nextTurn()
    this.rejections.end()
  })
}
