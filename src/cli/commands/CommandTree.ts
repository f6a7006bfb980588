/**
 * The tree of the commands: each with its words, and the call that it is.
 */
import * as Command from "@effect/cli/Command"
import type * as Effect from "effect/Effect"
import type { CommonGiven } from "../input/CommandOptions.js"
import * as CommandReader from "../input/CommandReader.js"
import type { Terminal } from "../output/Terminal.js"
import * as ApplyCommand from "./ApplyCommand.js"
import * as ArchiveCommands from "./ArchiveCommands.js"
import * as BackfillCommand from "./BackfillCommand.js"
import * as DoctorCommand from "./DoctorCommand.js"
import * as LedgerCommands from "./LedgerCommands.js"
import * as MoveCommand from "./MoveCommand.js"
import * as NewCommand from "./NewCommand.js"
import * as PurgeCommand from "./PurgeCommand.js"
import * as ReplayCommand from "./ReplayCommand.js"
import * as ProjectionCommands from "./ProjectionCommands.js"
import * as RunCommands from "./RunCommands.js"
import * as SchemaCommand from "./SchemaCommand.js"
import * as SnapshotCommands from "./SnapshotCommands.js"
import * as StatusCommands from "./StatusCommands.js"

/** The action of a command line; it gives the exit code. */
export type Action = Effect.Effect<number, never, Terminal>

/** The names of the commands, in the order of help. */
export const names = [
  "seed:new",
  "seed:check",
  "seed:status",
  "seed:apply",
  "seed:mark",
  "seed:unmark",
  "seed:rename",
  "projection:status",
  "projection:rebuild",
  "projection:diff",
  "snapshot:verify",
  "snapshot:rebuild",
  "stream:move",
  "stream:archive",
  "stream:restore",
  "stream:purge",
  "event:replay",
  "event:backfill",
  "runs",
  "runs:cancel",
  "history",
  "schema",
  "doctor"
]

/** The tree of all commands; reading a command line calls `choose` with the options and the action of one of them. */
export const make = (choose: (given: CommonGiven, action: Action) => Effect.Effect<void>) => {
  const described = (about: string, example: string) =>
    Command.withDescription(CommandReader.descriptionText(about, example))
  return Command.make("es-ops").pipe(
    Command.withSubcommands([
      Command.make("seed:new", NewCommand.options, (given) => choose(given, NewCommand.run(given))).pipe(
        described("Writes a new seed file that passes every check", "seed:new fill-display-names")
      ),
      Command.make("seed:check", StatusCommands.checkOptions, (given) =>
        choose(given, StatusCommands.check(given))
      ).pipe(described("Finds everything that can be wrong with the seeds without a database", "seed:check --json")),
      Command.make("seed:status", StatusCommands.statusOptions, (given) =>
        choose(given, StatusCommands.status(given))
      ).pipe(described("Shows every seed with its state", "seed:status --check")),
      Command.make("seed:apply", ApplyCommand.options, (given) => choose(given, ApplyCommand.run(given))).pipe(
        described("Applies the pending seeds, each exactly once", "seed:apply --dry-run")
      ),
      Command.make("seed:mark", LedgerCommands.markOptions, (given) => choose(given, LedgerCommands.mark(given))).pipe(
        described(
          "Records a seed as applied without running it",
          'seed:mark 2026-11-24-fill-display-names --reason "done by hand"'
        )
      ),
      Command.make("seed:unmark", LedgerCommands.markOptions, (given) =>
        choose(given, LedgerCommands.unmark(given))
      ).pipe(
        described(
          "Forgets that a seed was applied, so that it runs again",
          'seed:unmark 2026-11-24-fill-display-names --reason "restored from a backup"'
        )
      ),
      Command.make("seed:rename", LedgerCommands.renameOptions, (given) =>
        choose(given, LedgerCommands.rename(given))
      ).pipe(
        described(
          "Gives the marker of a file that was renamed its new id; nothing runs",
          'seed:rename 2026-11-24-fill-display-names 2026-11-24-display-names --reason "a clearer name"'
        )
      ),
      Command.make("projection:status", ProjectionCommands.statusOptions, (given) =>
        choose(given, ProjectionCommands.status(given))
      ).pipe(described("Shows every projection, and whether its tables are outdated", "projection:status --check")),
      Command.make("projection:rebuild", ProjectionCommands.rebuildOptions, (given) =>
        choose(given, ProjectionCommands.rebuild(given))
      ).pipe(
        described(
          "Computes read tables again from the events while the application runs",
          "projection:rebuild --outdated"
        )
      ),
      Command.make("projection:diff", ProjectionCommands.diffOptions, (given) =>
        choose(given, ProjectionCommands.diff(given))
      ).pipe(described("Compares read tables with the fold of their events", "projection:diff orders")),
      Command.make("snapshot:verify", SnapshotCommands.verifyOptions, (given) =>
        choose(given, SnapshotCommands.verify(given))
      ).pipe(described("Compares the snapshots of an aggregate with what its events give", "snapshot:verify invoice")),
      Command.make("snapshot:rebuild", SnapshotCommands.rebuildOptions, (given) =>
        choose(given, SnapshotCommands.rebuild(given))
      ).pipe(
        described("Folds every stream of an aggregate again, and makes its snapshots right", "snapshot:rebuild invoice")
      ),
      Command.make("stream:move", MoveCommand.options, (given) => choose(given, MoveCommand.run(given))).pipe(
        described(
          "Moves streams to another tenant, with their read rows, archive marks and snapshots",
          "stream:move --plan moves.csv --dry-run"
        )
      ),
      Command.make("stream:archive", ArchiveCommands.options, (given) =>
        choose(given, ArchiveCommands.archive(given))
      ).pipe(
        described(
          "Archives streams: they are read-only from then on, and their rows leave the read tables",
          "stream:archive --plan closed-accounts.csv --dry-run"
        )
      ),
      Command.make("stream:restore", ArchiveCommands.options, (given) =>
        choose(given, ArchiveCommands.restore(given))
      ).pipe(
        described(
          "Restores archived streams, and their rows in the read tables",
          "stream:restore --id 0b8f6c52-1f0e-4c1d-8a58-61d9a7a0c001 --tenant 7f3c5b1e-0d5a-4c3e-9f5e-2b1a6c8d9e10"
        )
      ),
      Command.make("stream:purge", PurgeCommand.options, (given) => choose(given, PurgeCommand.run(given))).pipe(
        described(
          "Deletes archived streams for good, with everything that knows them; their ids never come back",
          "stream:purge --archived-before 90d --type order --export orders.jsonl --dry-run"
        )
      ),
      Command.make("event:replay", ReplayCommand.options, (given) => choose(given, ReplayCommand.run(given))).pipe(
        described("Gives past events to a subscriber again", "event:replay mail --since 2026-11-01 --rate 50")
      ),
      Command.make("event:backfill", BackfillCommand.options, (given) =>
        choose(given, BackfillCommand.run(given))
      ).pipe(described("Makes events of rows from before event sourcing", "event:backfill legacy-orders --dry-run")),
      Command.make("runs", RunCommands.listOptions, (given) => choose(given, RunCommands.list(given))).pipe(
        described("Shows the long operations that have not ended, with their progress", "runs --json")
      ),
      Command.make("runs:cancel", RunCommands.cancelOptions, (given) => choose(given, RunCommands.cancel(given))).pipe(
        described(
          "Ends a long operation for good, whichever process is in it",
          "runs:cancel 1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b"
        )
      ),
      Command.make("history", LedgerCommands.historyOptions, (given) =>
        choose(given, LedgerCommands.history(given))
      ).pipe(described("Shows the attempts, newest first", "history 2026-11-24-fill-display-names")),
      Command.make("schema", SchemaCommand.options, (given) => choose(given, SchemaCommand.run(given))).pipe(
        described(
          "Prints the DDL for an administrator, without a connection unless --diff is given",
          "schema > es-ops.sql"
        )
      ),
      Command.make("doctor", DoctorCommand.options, (given) => choose(given, DoctorCommand.run(given))).pipe(
        described("Looks for what keeps seeds from being applied, and says what to do", "doctor")
      )
    ])
  )
}
