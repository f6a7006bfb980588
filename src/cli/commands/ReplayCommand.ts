/**
 * `event:replay`: past events, given to a subscriber again.
 */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ReplayBounds } from "../../replay/ReplayBounds.js"
import * as EventReplay from "../../replay/EventReplay.js"
import * as ReplayDocument from "../../replay/ReplayDocument.js"
import type { UsageError } from "../UsageError.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as Confirmation from "../input/Confirmation.js"
import * as OptionForm from "../input/OptionForm.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import * as KindLines from "../output/KindLines.js"
import { counted } from "../output/Layout.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import * as ClusterSession from "./ClusterSession.js"
import { clusterOption } from "./ClusterSession.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase } from "./CommandSession.js"
import * as RunProgress from "./RunProgress.js"

const text = (name: string, pseudo: string, about: string) =>
  Options.text(name).pipe(Options.withPseudoName(pseudo), Options.withDescription(about), Options.optional)

export const options = {
  subscriber: Args.text({ name: "subscriber" }).pipe(Args.withDescription("The subscriber, as a feature declares it")),
  since: text("since", "date", "Events of this date and later: 2026-11-01, 2026-11-01T12:00:00Z"),
  until: text("until", "date", "Events before this date"),
  fromId: text("from-id", "n", "Events of this id and above"),
  toId: text("to-id", "n", "Events up to this id"),
  type: text("type", "types", "Events of these types only, between commas"),
  tenant: text("tenant", "uuid", "Events of this tenant only"),
  stream: text("stream", "uuid", "Events of the stream with this aggregate id only"),
  all: Options.boolean("all").pipe(Options.withDescription("All events of its types, without any bounds")),
  includeArchived: Options.boolean("include-archived").pipe(
    Options.withDescription("Events of archived streams too, which are left out otherwise")
  ),
  rate: text("rate", "n", "So many events a second at most. Default: as many as the subscriber takes"),
  concurrency: text("concurrency", "n", "So many streams side by side, each in its order. Default: 1"),
  lanes: text("lanes", "n", "In so many parts of whole streams, which can go on in different processes. Default: 1"),
  cluster: clusterOption,
  onError: Options.choice("on-error", ["stop", "continue"] as const).pipe(
    Options.withDescription("After a failure: stop, or leave out the rest of that stream. Default: stop"),
    Options.withDefault("stop" as const)
  ),
  dryRun: Options.boolean("dry-run").pipe(Options.withDescription("Show how many events there are, and deliver none")),
  restart: Options.boolean("restart").pipe(
    Options.withDescription("Begin anew, and do not go on where an unfinished replay stands")
  ),
  yes: Options.boolean("yes").pipe(Options.withDescription("Do not ask before the first event is delivered")),
  ...databaseOptions
}

interface Given extends DatabaseGiven {
  readonly subscriber: string
  readonly since: Option.Option<string>
  readonly until: Option.Option<string>
  readonly fromId: Option.Option<string>
  readonly toId: Option.Option<string>
  readonly type: Option.Option<string>
  readonly tenant: Option.Option<string>
  readonly stream: Option.Option<string>
  readonly all: boolean
  readonly includeArchived: boolean
  readonly rate: Option.Option<string>
  readonly concurrency: Option.Option<string>
  readonly lanes: Option.Option<string>
  readonly cluster: boolean
  readonly onError: "stop" | "continue"
  readonly dryRun: boolean
  readonly restart: boolean
  readonly yes: boolean
}

/** Replays; gives the exit code. */
export const run = (given: Given): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const bounds = yield* boundsOf(given)
      const rate = yield* OptionForm.parsed(given.rate, "rate", OptionForm.positive)
      const concurrency = yield* OptionForm.parsed(given.concurrency, "concurrency", OptionForm.wholePositive)
      const lanes = yield* OptionForm.parsed(given.lanes, "lanes", OptionForm.wholePositive)
      const settings = yield* Settings.resolveAll(given)
      const cluster = yield* ClusterSession.lanes(given.cluster, settings)
      const { subscriber } = given
      const { document, lines, code } = yield* RunProgress.shown((observer) =>
        withDatabase(
          settings,
          Effect.gen(function* () {
            const plan = yield* EventReplay.plan({ subscriber, bounds })
            const shown = `${counted(plan.events, "event")} up to id ${plan.toId} would reach subscriber "${subscriber}".`
            if (given.dryRun) return { document: ReplayDocument.ofPlan(plan), lines: [`dry run: ${shown}`], code: 0 }
            if (given.yes) yield* terminal.err(shown)
            yield* Confirmation.ask(given.yes, shown)
            const { run, value } = yield* EventReplay.run({
              subscriber,
              bounds,
              rate,
              concurrency,
              lanes,
              onError: given.onError,
              restart: given.restart,
              appliedBy: settings.appliedBy,
              observer
            })
            const report = Option.getOrElse(value, () => EventReplay.reportOf(run, []))
            return {
              document: ReplayDocument.ofReport(report),
              lines: KindLines.replayLines(report),
              code: report.failed > 0 ? 1 : 0
            }
          }),
          {
            connections:
              sideBySide(lanes ?? 1, concurrency ?? 1) + 1 + (cluster === undefined ? 0 : ClusterSession.connections),
            lanes: cluster
          }
        )
      )
      yield* given.json
        ? terminal.out(Documents.encode(ReplayDocument.ReplayDocument, document))
        : writeLines(terminal, lines)
      return code
    }),
    "interrupted: what was recorded is not delivered again, and the same command goes on behind it"
  )

/** A stream that asks the database something has a connection for as long as one of its events is handled; the server's are not all for us. */
const sideBySide = (lanes: number, streams: number): number => Math.max(lanes, Math.min(lanes * streams, 32))

const boundsOf = (given: Given): Effect.Effect<ReplayBounds, UsageError> =>
  Effect.all({
    since: OptionForm.parsed(given.since, "since", OptionForm.date),
    until: OptionForm.parsed(given.until, "until", OptionForm.date),
    fromId: OptionForm.parsed(given.fromId, "from-id", OptionForm.eventId),
    toId: OptionForm.parsed(given.toId, "to-id", OptionForm.eventId),
    types: Effect.succeed(Option.getOrUndefined(Option.map(given.type, OptionForm.list))),
    tenantId: OptionForm.parsed(given.tenant, "tenant", OptionForm.uuid),
    stream: OptionForm.parsed(given.stream, "stream", OptionForm.uuid),
    all: Effect.succeed(given.all),
    includeArchived: Effect.succeed(given.includeArchived)
  })
