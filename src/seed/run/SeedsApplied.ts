/**
 * The proof that every seed was applied, or skipped on purpose: a layer that requires it cannot be built before.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type { Attempt } from "../../operation/Attempt.js"
import type { SettingError } from "../../operation/OperationConfig.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import * as LockWait from "../../operation/LockWait.js"
import { OperationLog } from "../../operation/OperationLog.js"
import * as SkipFlag from "../plan/SkipFlag.js"
import * as TableCheck from "../plan/TableCheck.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import type { ApplyError, Requirements } from "./SeedRunner.js"
import * as SeedRunner from "./SeedRunner.js"
import * as SeedSelection from "../plan/SeedSelection.js"

/** The proof as a service. */
export class SeedsApplied extends Context.Tag("effect-es-ops/SeedsApplied")<
  SeedsApplied,
  {
    /** How it is known: they were applied here, found applied, or nobody looked. */
    readonly by: "applied" | "verified" | "off"
  }
>() {}

/** Seeds are not applied. */
export class SeedsPending extends Schema.TaggedError<SeedsPending>()("SeedsPending", {
  ids: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `not applied: ${this.ids.join(", ")}. Run es-ops seed:apply, or provide SeedsApplied.layer`
  }
}

/**
 * Applies the seeds when the layer is built.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Effect, Layer } from "effect"
 * import { EsOps, SeedsApplied } from "effect-es-ops"
 *
 * const ServerLive = Layer.effectDiscard(
 *   Effect.zipRight(SeedsApplied.SeedsApplied, Effect.log("the server listens"))
 * )
 *
 * export const Main = ServerLive.pipe(
 *   Layer.provide(SeedsApplied.layer),
 *   Layer.provide(EsOps.layer({ seeds: "./seeds" })),
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 */
export const layer: Layer.Layer<SeedsApplied, ApplyError, Requirements> = Layer.effect(
  SeedsApplied,
  Effect.as(SeedRunner.apply({ appliedBy: "boot" }), SeedsApplied.of({ by: "applied" }))
)

/** How a look at whether the seeds are applied can fail. */
export type VerifyError = SeedsPending | SeedsInconsistent | LockTimeout | DatabaseError | SettingError

/** Looks whether the seeds are applied, and fails with `SeedsPending` if they are not. */
export const layerVerify: Layer.Layer<SeedsApplied, VerifyError, Requirements> = Layer.effect(
  SeedsApplied,
  Effect.suspend(() => Effect.as(verify, SeedsApplied.of({ by: "verified" })))
)

/** Waits until another process has applied them, for as long as `lockTimeout`; then fails with `SeedsPending`. */
export const layerWait: Layer.Layer<SeedsApplied, VerifyError, Requirements> = Layer.effect(
  SeedsApplied,
  Effect.suspend(() =>
    Effect.as(
      Effect.catchTag(verify, "SeedsPending", ({ ids }) => waitFor(ids)),
      SeedsApplied.of({ by: "verified" })
    )
  )
)

/** Takes it for granted: for tests of what comes after, and for a tool that must start on a database as it is. */
export const layerOff: Layer.Layer<SeedsApplied> = Layer.succeed(SeedsApplied, { by: "off" })

/** Applied, or skipped on purpose by a flag. */
const verify: Effect.Effect<void, VerifyError, Requirements> = Effect.gen(function* () {
  if (yield* SkipFlag.skipsAll) return
  yield* refuse(yield* SeedSelection.unapplied)
})

const refuse = (ids: ReadonlyArray<string>): Effect.Effect<void, SeedsPending> =>
  ids.length === 0 ? Effect.void : new SeedsPending({ ids })

/** Until all of these have a marker. What they are was looked at once and is not loaded again each time, but at the end. */
const waitFor = (ids: ReadonlyArray<string>): Effect.Effect<void, VerifyError, Requirements> =>
  Effect.gen(function* () {
    const { lockTimeout } = yield* OperationConfig
    const log = yield* OperationLog
    const mentionedAt = yield* Ref.make(yield* Clock.currentTimeMillis)
    yield* Effect.logInfo(`waits until another process has applied ${ids.join(", ")}`)
    const mention = (left: ReadonlyArray<string>) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (now - (yield* Ref.get(mentionedAt)) < Duration.toMillis(LockWait.mentionEvery)) return
        yield* Ref.set(mentionedAt, now)
        const last = yield* TableCheck.explain(log.lastAttempts)
        const failed = left.flatMap((id) => Option.toArray(Option.fromNullable(last.get(id)))).filter(hasFailed)
        yield* Effect.logInfo([`still waits for ${left.join(", ")}`, ...failed.map(failureOf)].join("; "))
      })
    const asking = TableCheck.explain(log.applied).pipe(
      Effect.map((applied) => ids.filter((id) => !applied.has(id))),
      Effect.flatMap(refuse),
      Effect.tapErrorTag("SeedsPending", ({ ids: left }) => mention(left))
    )
    const schedule = LockWait.within(LockWait.steadily, lockTimeout)
    yield* Effect.retry(asking, { schedule, while: (error) => error._tag === "SeedsPending" }).pipe(
      Effect.catchTag("SeedsPending", () => Effect.void)
    )
    yield* verify
  })

const hasFailed = ({ outcome }: Attempt): boolean => outcome === "failed" || outcome === "interrupted"

const failureOf = ({ error, operationId, outcome }: Attempt): string =>
  `the last attempt at "${operationId}" ${outcome === "failed" ? "failed" : "was interrupted"}${Option.match(error, { onNone: () => "", onSome: ({ message }) => `: ${message}` })}`
