/**
 * What a doctor finds of projections: those whose tables were built by an older definition, and those that lack events.
 */
import * as Effect from "effect/Effect"
import type { Features } from "../event/Features.js"
import type { ProjectionRecords } from "../event/ProjectionRecords.js"
import type { Finding } from "../operation/DatabaseHealth.js"
import { fine, wrong } from "../operation/HealthFinding.js"
import type { RunLog } from "../operation/RunLog.js"
import type { ProjectionStatusEntry } from "./ProjectionStatus.js"
import { status } from "./ProjectionStatus.js"

/** The finding on the projections that name their tables; none where there are none, or where their record cannot be read. */
export const examine: Effect.Effect<ReadonlyArray<Finding>, never, Features | ProjectionRecords | RunLog> = status.pipe(
  Effect.map((all) => {
    const known = all.filter(({ tables }) => tables.length > 0)
    const found = known.flatMap(problemsOf)
    if (known.length === 0) return []
    return found.length === 0
      ? [fine("projections", "all tables are built by their definitions")]
      : [
          wrong(
            "projections",
            "state",
            found.join("\n"),
            "es-ops projection:rebuild --outdated; with dead letters, by name."
          )
        ]
  }),
  Effect.orElseSucceed(() => [])
)

const problemsOf = ({ builtVersion, deadLetters, name, outdated, tables, version }: ProjectionStatusEntry) => [
  ...(outdated
    ? [
        builtVersion === 0
          ? `"${name}" is outdated: ${tables.join(", ")} lacks rows of events that are there`
          : `"${name}" is outdated: ${tables.join(", ")} was built by version ${builtVersion} of it, and this is version ${version}`
      ]
    : []),
  ...(deadLetters > 0
    ? [`"${name}" left out ${deadLetters} event${deadLetters === 1 ? "" : "s"} when it was rebuilt`]
    : [])
]
