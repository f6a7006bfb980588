/**
 * The bounds of a replay: which past events are given to the subscriber again. Pure.
 */
import type { Selection } from "../event/EventFeed.js"
import type { Subscriber } from "../event/Subscriber.js"
import { ReplayBoundsInvalid } from "./ReplayError.js"

/** The bounds; what is left out does not narrow them. At least one, or `all`. */
export interface ReplayBounds {
  /** Dates of events, the first included and the second not. */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  /** Ids of events, both included. */
  readonly fromId?: bigint | undefined
  readonly toId?: bigint | undefined
  readonly types?: ReadonlyArray<string> | undefined
  readonly tenantId?: string | undefined
  /** The aggregate id of a stream. */
  readonly stream?: string | undefined
  /** Whether it is meant that there are no bounds. */
  readonly all?: boolean | undefined
  /** Whether events of archived streams are given too. Default: no. */
  readonly includeArchived?: boolean | undefined
}

/** What is wrong with them, if anything is. */
export const problemOf = (
  bounds: ReplayBounds,
  { events, name }: Pick<Subscriber, "name" | "events">
): ReplayBoundsInvalid | undefined => {
  const invalid = (reason: string) => new ReplayBoundsInvalid({ reason })
  const { fromId, since, stream, tenantId, toId, types, until } = bounds
  const isBounded = [fromId, since, stream, tenantId, toId, types, until].some((bound) => bound !== undefined)
  if (!isBounded && bounds.all !== true) {
    return invalid("a replay needs bounds (since, until, from-id, to-id, type, tenant, stream), or --all")
  }
  if (isBounded && bounds.all === true) return invalid("--all is given together with bounds: leave out one of them")
  const unknown = types?.filter((type) => !events.some((known) => known.type === type)) ?? []
  if (unknown.length > 0) {
    const known = events.map(({ type }) => type).join(", ")
    return invalid(`subscriber "${name}" does not handle ${unknown.join(", ")}; it handles ${known}`)
  }
  if (fromId !== undefined && toId !== undefined && fromId > toId) return invalid("from-id is above to-id")
  if (since !== undefined && until !== undefined && since >= until) return invalid("since is not before until")
  return undefined
}

/** The events up to an id that the bounds mean. */
export const selection = (
  bounds: ReplayBounds,
  { events }: Pick<Subscriber, "events">,
  upTo: bigint
): Selection & { readonly after: bigint; readonly upTo: bigint } => ({
  after: (bounds.fromId ?? 1n) - 1n,
  upTo: bounds.toId === undefined || bounds.toId > upTo ? upTo : bounds.toId,
  types: bounds.types ?? events.map(({ type }) => type),
  tenantId: bounds.tenantId,
  aggregateId: bounds.stream,
  since: bounds.since,
  until: bounds.until,
  withoutArchived: bounds.includeArchived !== true
})

/** The bounds as JSON: other bounds are other work. */
export const toJson = ({ since, until, ...bounds }: ReplayBounds): Readonly<Record<string, unknown>> => ({
  since: since?.toISOString(),
  until: until?.toISOString(),
  fromId: bounds.fromId?.toString(),
  toId: bounds.toId?.toString(),
  types: bounds.types?.toSorted(),
  tenantId: bounds.tenantId,
  stream: bounds.stream,
  includeArchived: bounds.includeArchived === true
})
