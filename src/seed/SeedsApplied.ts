/**
 * The proof that every seed was applied, or skipped on purpose: a layer that requires it cannot be built before.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { ConfigError } from "../operation/OperationConfig.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import { SeedsInconsistent } from "./SeedProblem.js"
import type { ApplyError, Requirements } from "./SeedRunner.js"
import * as SeedRunner from "./SeedRunner.js"
import * as SkipFlag from "./SkipFlag.js"
import * as SeedStatus from "./SeedStatus.js"

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

/** Applies the seeds when the layer is built. */
export const layer: Layer.Layer<SeedsApplied, ApplyError, Requirements> = Layer.effect(
  SeedsApplied,
  Effect.as(SeedRunner.apply({ appliedBy: "boot" }), SeedsApplied.of({ by: "applied" }))
)

type VerifyError = SeedsPending | SeedsInconsistent | DatabaseError | ConfigError

/** Applied, or skipped on purpose by a flag. */
const verify: Effect.Effect<void, VerifyError, Requirements> = Effect.gen(function* () {
  if ((yield* SkipFlag.read(SkipFlag.all)) === "set") return
  const { problems, seeds } = yield* SeedStatus.status
  const [problem, ...others] = problems
  if (problem !== undefined) return yield* new SeedsInconsistent({ problems: [problem, ...others] })
  const open = seeds.filter(({ flagSet, state }) => state !== "applied" && state !== "orphan" && !flagSet)
  if (open.length > 0) return yield* new SeedsPending({ ids: open.map(({ id }) => id) })
})

/** Looks whether the seeds are applied, and fails with `SeedsPending` if they are not. */
export const layerVerify: Layer.Layer<SeedsApplied, VerifyError, Requirements> = Layer.effect(
  SeedsApplied,
  Effect.as(verify, SeedsApplied.of({ by: "verified" }))
)

/** Waits until another process has applied them, for as long as `lockTimeout`; then fails with `SeedsPending`. */
export const layerWait: Layer.Layer<SeedsApplied, VerifyError, Requirements> = Layer.effect(
  SeedsApplied,
  Effect.gen(function* () {
    const { lockTimeout } = yield* OperationConfig
    let told = false
    const verifying = Effect.tapErrorTag(verify, "SeedsPending", ({ ids }) => {
      if (told) return Effect.void
      told = true
      return Effect.logInfo(`waits until another process has applied ${ids.join(", ")}`)
    })
    yield* Effect.retry(verifying, {
      schedule: Schedule.upTo(Schedule.jittered(Schedule.spaced("500 millis")), lockTimeout),
      while: (error) => error._tag === "SeedsPending"
    })
    return SeedsApplied.of({ by: "verified" })
  })
)

/** Takes it for granted: for tests of what comes after, and for a tool that must start on a database as it is. */
export const layerOff: Layer.Layer<SeedsApplied> = Layer.succeed(SeedsApplied, { by: "off" })
