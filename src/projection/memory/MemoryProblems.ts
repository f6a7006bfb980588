/**
 * What a rebuild in memory refuses. Pure.
 */
import * as Arr from "effect/Array"
import * as Option from "effect/Option"
import { streamKey } from "../../event/AppendRules.js"
import type { Event } from "../../event/Event.js"
import type { Key } from "../../event/Table.js"
import type { RebuildPolicy } from "../RebuildOptions.js"
import type { RebuildProblem } from "../RebuildProblem.js"
import { GhostRows, NotRebuildable, SharedKey, StreamIncomplete, UnexpectedGhosts } from "../RebuildProblem.js"
import type { RebuildTarget } from "../RebuildTarget.js"
import { isByAggregate } from "../RebuildTarget.js"
import * as TargetProblems from "../TargetProblems.js"
import * as MemoryComputation from "./MemoryComputation.js"

/** Streams whose versions are not 1, 2, 3, …, by their keys. */
export const incomplete = (all: ReadonlyArray<Event>, counted: ReadonlyArray<Event>): ReadonlySet<string> => {
  const concerned = new Set(counted.map(streamKey))
  const streams = Arr.groupBy(
    all.filter((event) => concerned.has(streamKey(event))),
    streamKey
  )
  return new Set(
    Object.entries(streams).flatMap(([key, events]) =>
      events.toSorted((a, b) => a.version - b.version).every(({ version }, at) => version === at + 1) ? [] : [key]
    )
  )
}

/** Projections that cannot be rebuilt, or not in this mode. */
export const notRebuildable = (target: RebuildTarget, policy: RebuildPolicy): ReadonlyArray<RebuildProblem> => {
  const reasons = TargetProblems.reasons(target, policy)
  return Arr.isNonEmptyReadonlyArray(reasons) ? [new NotRebuildable({ projection: target.name, reasons })] : []
}

const shown = 20

/** Aggregate ids that two tenants have, where the key does not know the tenant. */
export const sharedKey = (target: RebuildTarget, counted: ReadonlyArray<Event>): ReadonlyArray<RebuildProblem> => {
  if (!isByAggregate(target)) return []
  const tenants = Arr.groupBy(counted, ({ aggregateId }) => aggregateId)
  const shared = Object.entries(tenants).flatMap(([id, events]) =>
    new Set(events.map(({ tenantId }) => tenantId)).size > 1 ? [id] : []
  )
  return shared.length === 0
    ? []
    : [
        new SharedKey({
          projection: target.name,
          count: shared.length,
          aggregateIds: shared.toSorted().slice(0, shown)
        })
      ]
}

/** Streams that lack versions. */
export const gaps = ({ name }: RebuildTarget, streams: ReadonlySet<string>): ReadonlyArray<RebuildProblem> =>
  streams.size === 0
    ? []
    : [
        new StreamIncomplete({
          projection: name,
          count: streams.size,
          streams: [...streams].toSorted().slice(0, shown)
        })
      ]

/** Rows without any event that are not to be there, or not so many. */
export const ghostProblems = (
  { name, tables: [table] }: RebuildTarget,
  { expect, ghosts }: RebuildPolicy,
  keys: ReadonlyArray<Key>
): ReadonlyArray<GhostRows | UnexpectedGhosts> => {
  const count = keys.length
  if (count > 0 && ghosts === "refuse")
    return [
      new GhostRows({ projection: name, table: table?.name ?? "", count, keys: MemoryComputation.keyTexts(keys) })
    ]
  return ghosts === "delete" && Option.exists(expect, (expected) => expected !== count)
    ? [new UnexpectedGhosts({ projection: name, expected: Option.getOrElse(expect, () => count), found: count })]
    : []
}
