/**
 * Seeds of a few lines, runs of them, and what a run says.
 */
import { ConfigProvider, Effect, Logger, Option, Ref, Schema } from "effect"
import { Directory, Seed, SeedContext, SeedReport, SeedRunner } from "effect-es-ops"
import type { Attempt } from "effect-es-ops"

/** A failure with a tag, a message and a code of its own. */
export class Boom extends Schema.TaggedError<Boom>()("Boom", { code: Schema.String }) {
  override get message(): string {
    return "no such thing"
  }
}

/** A write of a tenant of this key. */
export const tenant = (key: string) => SeedContext.systemWriteAs("tenant:write:create", { key, name: key })
/** A seed that does this. */
export const seed = (
  run: Effect.Effect<unknown, unknown, SeedContext.SeedContext>,
  more: { skippable?: boolean } = {}
) => Seed.make({ description: "a seed", run, ...more })

/** Applies the seeds. */
export const apply = SeedRunner.apply({ appliedBy: "boot" })
/** What became of each seed. */
export const summary = ({ outcomes }: SeedReport.SeedReport) => outcomes.map(({ _tag, id }) => [_tag, id])
/** With these variables as the environment. */
export const withEnv = (env: Record<string, string>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env))))
/** The keys of the tenants, as a seed finds them. */
export const keys = Effect.map(SeedContext.findTenants, (all) => all.map(({ tenantKey }) => tenantKey))

/** The keys of the tenants, beside any seed. */
export const keysOf = Effect.map(
  Effect.flatMap(Directory.Directory, ({ findTenants }) => findTenants),
  (all) => all.map(({ tenantKey }) => tenantKey)
)

/** The error of an attempt, which must have one. */
export const errorOf = (attempt: Attempt.Attempt | undefined) =>
  Option.getOrThrow(Option.fromNullable(attempt).pipe(Option.flatMap(({ error }) => error)))

/** Lines that are logged meanwhile. */
export const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines = yield* Ref.make<ReadonlyArray<string>>([])
    const runtime = yield* Effect.runtime<never>()
    const logger = Logger.make(({ logLevel, message }) => {
      const line = `${logLevel.label}: ${String(message)}`
      Effect.runSync(
        Effect.provide(
          Ref.update(lines, (all) => [...all, line]),
          runtime
        )
      )
    })
    const result = yield* Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger))
    return { result, lines: yield* Ref.get(lines) }
  })
