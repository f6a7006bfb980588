/**
 * The features of the settings, as runs look up what they are about: every projection, subscriber and aggregate, with the services that it requires.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { SettingError } from "../operation/OperationConfig.js"
import * as Stream from "effect/Stream"
import type { AnyAggregate } from "./Aggregate.js"
import type { Backfill } from "./Backfill.js"
import type { AnyEventType } from "./EventType.js"
import { problemOf } from "./EventType.js"
import * as Feature from "./Feature.js"
import type { Projection } from "./Projection.js"
import type { Subscriber } from "./Subscriber.js"
import type { Table } from "./Table.js"

/** Everything that features declare; nothing of it requires a service any more. */
export class Features extends Context.Tag("effect-es-ops/Features")<
  Features,
  {
    readonly projections: ReadonlyArray<Projection<unknown>>
    readonly subscribers: ReadonlyArray<Subscriber<unknown, never>>
    readonly aggregates: ReadonlyArray<AnyAggregate>
    readonly backfills: ReadonlyArray<Backfill<unknown, never>>
    readonly tables: ReadonlyArray<Table>
    /** Runs with the services that features require, for many handlers: what each of them is given otherwise is there then. */
    readonly serving: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  }
>() {}

/** Looks at all that features declare; what cannot be used is a `SettingError`. */
export const make = <F extends Feature.Feature>(
  features: ReadonlyArray<F>
): Effect.Effect<Features["Type"], SettingError, Feature.Context<F>> => makeUnited(Feature.united(features))

const makeUnited = <R>(features: ReadonlyArray<Feature.Feature<R>>): Effect.Effect<Features["Type"], SettingError, R> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<R>()
    const projections = features.flatMap((feature) => feature.projections)
    const subscribers = features.flatMap((feature) => feature.subscribers)
    const aggregates = features.flatMap((feature) => feature.aggregates)
    const backfills = features.flatMap((feature) => feature.backfills)
    const tables = features.flatMap((feature) => feature.tables)
    for (const reason of problems({ projections, subscribers, aggregates, backfills })) {
      return yield* new SettingError({ key: "features", reason })
    }
    // The services of the fiber win: a run gives its own transaction and its own store. Those of a replay are the same for many events.
    const served = new WeakSet<Context.Context<never>>()
    const isServed = (own: Context.Context<never>): own is Context.Context<R> => served.has(own)
    const besides = <R2>(own: Context.Context<R2>): Context.Context<R | R2> => {
      const merged = Context.merge(context, own)
      served.add(merged)
      return merged
    }
    const provide = <A, E>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E> =>
      Effect.contextWithEffect((own: Context.Context<never>) =>
        isServed(own) ? at(effect, own) : Effect.provide(effect, besides(own))
      )
    return Features.of({
      projections: projections.map((projection) => ({
        ...projection,
        source: projection.source ?? String(projection.apply),
        apply: (events) => provide(projection.apply(events))
      })),
      subscribers: subscribers.map((subscriber) => ({
        ...subscriber,
        deliver: (event, replay) => Either.map(subscriber.deliver(event, replay), provide)
      })),
      aggregates,
      backfills: backfills.map((backfill): Backfill<unknown, never> => {
        const { source } = backfill
        if (source._tag === "Sql") return { ...backfill, source }
        return {
          ...backfill,
          source: { ...source, rows: (after) => Stream.provideSomeContext(source.rows(after), context) }
        }
      }),
      tables,
      serving: (effect) => Effect.mapInputContext(effect, besides)
    })
  })

/** The effect itself: its services are those of the fiber already. */
function at<A, E, R>(effect: Effect.Effect<A, E, R>, own: Context.Context<R>): Effect.Effect<A, E>
function at(effect: Effect.Effect<unknown, unknown, unknown>): Effect.Effect<unknown, unknown, unknown> {
  return effect
}

interface Declared {
  readonly projections: ReadonlyArray<Projection<unknown, unknown>>
  readonly subscribers: ReadonlyArray<Subscriber>
  readonly aggregates: ReadonlyArray<AnyAggregate>
  readonly backfills: ReadonlyArray<Backfill>
}

const problems = ({ aggregates, backfills, projections, subscribers }: Declared): ReadonlyArray<string> => [
  ...twice("projections", projections),
  ...twice("subscribers", subscribers),
  ...twice(
    "aggregates",
    aggregates.map(({ type }) => ({ name: type }))
  ),
  ...twice("backfills", backfills),
  ...typesOf({ aggregates, backfills, projections, subscribers }).flatMap((type) => problemOf(type) ?? []),
  ...versionProblems(typesOf({ aggregates, backfills, projections, subscribers })),
  ...projections.flatMap(definitionProblems),
  ...projections.flatMap(tableProblems(projections))
]

const typesOf = ({ aggregates, projections, subscribers }: Declared): ReadonlyArray<AnyEventType> => [
  ...projections.flatMap(({ types = [] }) => types),
  ...subscribers.flatMap(({ events }) => events),
  ...aggregates.flatMap(({ events }) => events)
]

/** Whoever knows an older version cannot read what is written today. */
const versionProblems = (types: ReadonlyArray<AnyEventType>): ReadonlyArray<string> =>
  types.flatMap(({ type, version }, at) => {
    const first = types.find((other) => other.type === type)
    return first === undefined ||
      first.version === version ||
      types.findIndex((other) => other.type === type && other.version === version) !== at
      ? []
      : [`event type "${type}" is there with versions ${first.version} and ${version}`]
  })

const definitionProblems = ({ name, types = [], version = 1 }: Projection<unknown, unknown>): ReadonlyArray<string> => [
  ...(Number.isSafeInteger(version) && version >= 1 ? [] : [`projection "${name}" has version ${version}: 1 or above`]),
  ...types
    .filter(({ type }, at) => types.findIndex((other) => other.type === type) !== at)
    .map(({ type }) => `projection "${name}" has event type "${type}" twice`)
]

const twice = (what: string, named: ReadonlyArray<{ readonly name: string }>): ReadonlyArray<string> =>
  named
    .filter(({ name }, at) => named.findIndex((other) => other.name === name) !== at)
    .map(({ name }) => `two ${what} are named "${name}"`)

/** A table of pure functions is one projection's; its key has one column, unless the projection says otherwise. */
const tableProblems =
  (all: ReadonlyArray<Projection<unknown, unknown>>) =>
  ({ definition, name, tables = [] }: Projection<unknown, unknown>): ReadonlyArray<string> => {
    if (definition === undefined) return []
    const [table] = tables
    const other = all.find((one) => one.name !== name && (one.tables ?? []).some((t) => t.name === table?.name))
    const shared =
      other === undefined ? [] : [`table "${table?.name}" is folded by "${name}" and written by "${other.name}"`]
    const isKeyless = definition._tag === "Fold" && definition.byAggregate && definition.table.primaryKey.length !== 1
    return isKeyless
      ? [
          ...shared,
          `projection "${name}" needs a key: "${definition.table.name}" has more than one column in its primary key`
        ]
      : shared
  }
