/**
 * The body of a seed: run with its context, bounded in time, and whatever ends it early made one failure.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as Tracer from "effect/Tracer"
import type { Event } from "../../event/Event.js"
import { NewId } from "../../event/Event.js"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Directory } from "../../identity/Directory.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { Transactor } from "../../operation/Transactor.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import * as SeedContext from "../SeedContext.js"
import { isFailure, unrun } from "../SeedResult.js"

/** The body failed, died, ran out of time or interrupted itself; the cause is what it ended with. */
export class BodyFailed extends Schema.TaggedError<BodyFailed>()("BodyFailed", { cause: Schema.Defect }) {}

/** The body took longer than `seedTimeout`. */
export class SeedTimeout extends Schema.TaggedError<SeedTimeout>()("SeedTimeout", { milliseconds: Schema.Number }) {
  override get message(): string {
    return `it took longer than seedTimeout, ${this.milliseconds} ms`
  }
}

/** A body that is through. */
export interface Ran {
  /** Whole milliseconds. */
  readonly durationMs: number
  /** How many events were appended by writes that stayed. */
  readonly events: number
}

/** Runs the body; `preview` gets the events of the writes that stayed. */
export const run = (
  { entry, seed }: LoadedSeed,
  preview?: Ref.Ref<ReadonlyArray<Event>>
): Effect.Effect<Ran, BodyFailed, OperationConfig | Transactor | WriteDispatcher | Directory> =>
  Effect.useSpan("SeedBody.run", { attributes: { seed: entry.id }, captureStackTrace: false }, (span) =>
    runWithin(span, entry.id, seed, preview)
  ).pipe(Effect.catchAllCause((cause) => new BodyFailed({ cause: reasonOf(cause) })))

const runWithin = Effect.fnUntraced(function* (
  span: Tracer.Span,
  id: string,
  seed: LoadedSeed["seed"],
  preview: Ref.Ref<ReadonlyArray<Event>> | undefined
) {
  const { seedTimeout } = yield* OperationConfig
  const eventCount = yield* Ref.make(0)
  const context = yield* SeedContext.make({
    operationId: id,
    correlationId: yield* yield* NewId,
    eventCount,
    preview
  })
  const body = Effect.withParentSpan(seed.run(context), span)
  const bounded = Option.match(seedTimeout, {
    onNone: () => body,
    onSome: (duration) =>
      Effect.timeoutFail(body, {
        duration,
        onTimeout: () => new SeedTimeout({ milliseconds: Duration.toMillis(duration) })
      })
  })
  const from = yield* Clock.currentTimeNanos
  const given = yield* bounded
  const took = (yield* Clock.currentTimeNanos) - from
  const undone = unrun(given)
  if (Option.isSome(undone)) return yield* undone.value
  if (isFailure(given)) yield* Effect.logWarning(failureGiven)
  return { durationMs: Math.round(Number(took) / 1_000_000), events: yield* Ref.get(eventCount) }
})

const failureGiven =
  "it ended with a failure as its value, which is none of the seed's: if it was to fail, a yield* is missing"

/** The failure or defect that a body ended with. */
const reasonOf = (cause: Cause.Cause<unknown>): unknown =>
  Cause.isInterruptedOnly(cause) ? new Error("it interrupted itself") : Cause.squash(cause)
