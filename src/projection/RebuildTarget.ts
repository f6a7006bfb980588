/**
 * What is rebuilt together: one fold or `rows` projection with its table, or all projections by `Projection.make` that share tables.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { Fold, Rows } from "../event/FoldDefinition.js"
import type { Projection } from "../event/Projection.js"
import type { Table } from "../event/Table.js"

/** How the rows come about. */
export type RebuildWork = Fold | Rows | { readonly _tag: "Apply" }

/** Projections that are rebuilt together. */
export interface RebuildTarget {
  /** The name of its runs: that of its first projection. */
  readonly name: string
  readonly projections: NonEmptyReadonlyArray<Projection<unknown>>
  /** None where a projection names none: it cannot be rebuilt. */
  readonly tables: ReadonlyArray<Table>
  /** The types of events, each once. */
  readonly events: ReadonlyArray<string>
  readonly archived: "drop" | "keep"
  readonly work: RebuildWork
}

/** The targets of all projections, in their order. */
export const targets = (projections: ReadonlyArray<Projection<unknown>>): ReadonlyArray<RebuildTarget> =>
  groups(projections).map((members) => {
    const [first] = members
    return {
      name: first.name,
      projections: members,
      tables: Arr.dedupeWith(
        members.flatMap(({ tables = [] }) => tables),
        (a, b) => a.name === b.name
      ),
      events: Arr.dedupe(members.flatMap(({ events }) => events)),
      archived: members.some(({ archived }) => archived === "keep") ? "keep" : "drop",
      work: first.definition ?? { _tag: "Apply" }
    }
  })

/** Whether the key of each row is the aggregate's id. */
export const isByAggregate = ({ work }: RebuildTarget): boolean => work._tag === "Fold" && work.byAggregate

/** Projections that have a table in common, through others as well. */
const groups = (
  projections: ReadonlyArray<Projection<unknown>>
): ReadonlyArray<NonEmptyReadonlyArray<Projection<unknown>>> =>
  projections.reduce<ReadonlyArray<NonEmptyReadonlyArray<Projection<unknown>>>>((found, projection) => {
    const [apart, joined] = Arr.partition(found, (members) => members.some((member) => share(member, projection)))
    return [...apart, Arr.appendAll(joined.flat(), [projection])]
  }, [])

const share = (a: Projection<unknown>, b: Projection<unknown>): boolean =>
  (a.tables ?? []).some(({ name }) => (b.tables ?? []).some((other) => other.name === name))
