/**
 * What keeps projections from being rebuilt whatever is in the database. Pure.
 */
import type { RebuildPolicy } from "./RebuildOptions.js"
import type { RebuildTarget } from "./RebuildTarget.js"

/** The reasons, as a refusal lists them. */
export const reasons = (
  { name, projections, tables, work }: RebuildTarget,
  { mode }: Pick<RebuildPolicy, "mode">
): ReadonlyArray<string> => [
  ...projections
    .filter((projection) => (projection.tables ?? []).length === 0)
    .map((projection) => `"${projection.name}" does not name the tables that it writes (tables: […])`),
  ...(projections.some(({ archived = "drop" }) => archived !== (projections[0].archived ?? "drop"))
    ? [
        `${projections.map((projection) => `"${projection.name}"`).join(", ")} share tables, and do not say the same of archived streams`
      ]
    : []),
  ...tables
    .filter(({ primaryKey }) => primaryKey.length === 0)
    .map((table) => `table ${table.name} has no primary key`),
  ...(work._tag === "Apply" && (mode === "swap" || mode === "gradual")
    ? [`"${name}" is a function (Projection.make), whose tables are merged: give --mode merge or auto`]
    : [])
]
