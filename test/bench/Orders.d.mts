import type { ManagedRuntime } from "effect"
import type { EsOps, Feature, ProjectionRebuild, Seed } from "effect-es-ops"
import type { SqlClient } from "@effect/sql/SqlClient"

type App = ManagedRuntime.ManagedRuntime<EsOps.Services | SqlClient, unknown>

export const length: number
export const upsert: string
export const feature: Feature.Feature<EsOps.Base | SqlClient>
export const writing: (way: "fold" | "upsert" | "locked") => Feature.Feature<EsOps.Base | SqlClient>
export const application: (
  url: string,
  features?: ReadonlyArray<Feature.Feature<EsOps.Base | SqlClient>>,
  seeds?: Readonly<Record<string, Seed.Seed<unknown, SqlClient>>>
) => App
export const rebuild: (
  app: App,
  name: string,
  options?: ProjectionRebuild.Options
) => Promise<ProjectionRebuild.RebuildReport>
export const status: (app: App) => Promise<ReadonlyArray<{ readonly name: string }>>
