/**
 * The proof that no projection is outdated: a layer that requires it cannot be built while a read table is of an older definition.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type { Features } from "../event/Features.js"
import type { ProjectionRecords } from "../event/ProjectionRecords.js"
import * as LockWait from "../operation/LockWait.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import * as ProjectionStatus from "./ProjectionStatus.js"

/** The proof as a service. */
export class ProjectionsCurrent extends Context.Tag("effect-es-ops/ProjectionsCurrent")<
  ProjectionsCurrent,
  {
    /** How it is known: they were found current, or nobody looked. */
    readonly by: "verified" | "off"
  }
>() {}

/** Read tables are of older definitions than this process has. */
export class ProjectionsOutdated extends Schema.TaggedError<ProjectionsOutdated>()("ProjectionsOutdated", {
  names: Schema.NonEmptyArray(Schema.String)
}) {
  override get message(): string {
    return `outdated: ${this.names.join(", ")}. Run es-ops projection:rebuild --outdated`
  }
}

/** How the look can fail. */
export type VerifyError = ProjectionsOutdated | DatabaseError

/**
 * Looks whether a projection is outdated, and fails with `ProjectionsOutdated` if one is.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Effect, Layer } from "effect"
 * import { EsOps, ProjectionsCurrent } from "effect-es-ops"
 *
 * const ServerLive = Layer.effectDiscard(
 *   Effect.zipRight(ProjectionsCurrent.ProjectionsCurrent, Effect.log("the server listens"))
 * )
 *
 * export const Main = ServerLive.pipe(
 *   Layer.provide(ProjectionsCurrent.layerVerify),
 *   Layer.provide(EsOps.layer({ seeds: "./seeds" })),
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 */
export const layerVerify: Layer.Layer<ProjectionsCurrent, VerifyError, Features | ProjectionRecords> = Layer.effect(
  ProjectionsCurrent,
  Effect.suspend(() => Effect.as(verify, ProjectionsCurrent.of({ by: "verified" })))
)

/** Waits until another process has rebuilt them, for as long as `lockTimeout`; then fails with `ProjectionsOutdated`. */
export const layerWait: Layer.Layer<ProjectionsCurrent, VerifyError, Features | ProjectionRecords | OperationConfig> =
  Layer.effect(
    ProjectionsCurrent,
    Effect.suspend(() => Effect.as(wait, ProjectionsCurrent.of({ by: "verified" })))
  )

/** Takes it for granted: for tests, and for replicas that serve the old rows until the rebuild is through. */
export const layerOff: Layer.Layer<ProjectionsCurrent> = Layer.succeed(ProjectionsCurrent, { by: "off" })

const verify: Effect.Effect<void, VerifyError, Features | ProjectionRecords> = Effect.flatMap(
  ProjectionStatus.outdated,
  ([first, ...others]) => (first === undefined ? Effect.void : new ProjectionsOutdated({ names: [first, ...others] }))
)

const wait: Effect.Effect<void, VerifyError, Features | ProjectionRecords | OperationConfig> = Effect.gen(function* () {
  const { lockTimeout } = yield* OperationConfig
  const mentionedAt = yield* Ref.make(-Infinity)
  const mention = ({ names }: ProjectionsOutdated) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      if (now - (yield* Ref.get(mentionedAt)) < Duration.toMillis(LockWait.mentionEvery)) return
      yield* Ref.set(mentionedAt, now)
      yield* Effect.logInfo(`waits until another process has rebuilt ${names.join(", ")}`)
    })
  yield* Effect.tapErrorTag(verify, "ProjectionsOutdated", mention).pipe(
    Effect.retry({
      schedule: LockWait.within(LockWait.steadily, lockTimeout),
      while: (error) => error._tag === "ProjectionsOutdated"
    })
  )
})
