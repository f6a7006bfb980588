/**
 * All other commands: they run operations of every kind, and keep their record. What they need is much, and is loaded with them.
 */
import * as Command from "@effect/cli/Command"
import * as ApplyCommand from "./ApplyCommand.js"
import * as ArchiveCommands from "./ArchiveCommands.js"
import * as BackfillCommand from "./BackfillCommand.js"
import * as DoctorCommand from "./DoctorCommand.js"
import type { Choose } from "./Declaration.js"
import { described } from "./Declaration.js"
import * as LedgerCommands from "./LedgerCommands.js"
import * as MoveCommand from "./MoveCommand.js"
import * as NewCommand from "./NewCommand.js"
import * as ProjectionCommands from "./ProjectionCommands.js"
import * as PurgeCommand from "./PurgeCommand.js"
import * as ReplayCommand from "./ReplayCommand.js"
import * as RunCommands from "./RunCommands.js"
import * as SchemaCommand from "./SchemaCommand.js"
import * as SnapshotCommands from "./SnapshotCommands.js"

/** Their declarations, each made when it is asked for. */
export const declarations = (choose: Choose) => ({
  "seed:apply": () =>
    Command.make("seed:apply", ApplyCommand.options, (given) => choose(given, ApplyCommand.run(given))).pipe(
      described("Applies the pending seeds, each exactly once", "seed:apply --dry-run")
    ),
  "projection:status": () =>
    Command.make("projection:status", ProjectionCommands.statusOptions, (given) =>
      choose(given, ProjectionCommands.status(given))
    ).pipe(described("Shows every projection, and whether its tables are outdated", "projection:status --check")),
  "projection:rebuild": () =>
    Command.make("projection:rebuild", ProjectionCommands.rebuildOptions, (given) =>
      choose(given, ProjectionCommands.rebuild(given))
    ).pipe(
      described(
        "Computes read tables again from the events while the application runs",
        "projection:rebuild --outdated"
      )
    ),
  "projection:diff": () =>
    Command.make("projection:diff", ProjectionCommands.diffOptions, (given) =>
      choose(given, ProjectionCommands.diff(given))
    ).pipe(described("Compares read tables with the fold of their events", "projection:diff orders")),
  "snapshot:verify": () =>
    Command.make("snapshot:verify", SnapshotCommands.verifyOptions, (given) =>
      choose(given, SnapshotCommands.verify(given))
    ).pipe(described("Compares the snapshots of an aggregate with what its events give", "snapshot:verify invoice")),
  "snapshot:rebuild": () =>
    Command.make("snapshot:rebuild", SnapshotCommands.rebuildOptions, (given) =>
      choose(given, SnapshotCommands.rebuild(given))
    ).pipe(
      described("Folds every stream of an aggregate again, and makes its snapshots right", "snapshot:rebuild invoice")
    ),
  "stream:move": () =>
    Command.make("stream:move", MoveCommand.options, (given) => choose(given, MoveCommand.run(given))).pipe(
      described(
        "Moves streams to another tenant, with their read rows, archive marks and snapshots",
        "stream:move --plan moves.csv --dry-run"
      )
    ),
  "stream:archive": () =>
    Command.make("stream:archive", ArchiveCommands.options, (given) =>
      choose(given, ArchiveCommands.archive(given))
    ).pipe(
      described(
        "Archives streams: they are read-only from then on, and their rows leave the read tables",
        "stream:archive --plan closed-accounts.csv --dry-run"
      )
    ),
  "stream:restore": () =>
    Command.make("stream:restore", ArchiveCommands.options, (given) =>
      choose(given, ArchiveCommands.restore(given))
    ).pipe(
      described(
        "Restores archived streams, and their rows in the read tables",
        "stream:restore --id 0b8f6c52-1f0e-4c1d-8a58-61d9a7a0c001 --tenant 7f3c5b1e-0d5a-4c3e-9f5e-2b1a6c8d9e10"
      )
    ),
  "stream:purge": () =>
    Command.make("stream:purge", PurgeCommand.options, (given) => choose(given, PurgeCommand.run(given))).pipe(
      described(
        "Deletes archived streams for good, with everything that knows them; their ids never come back",
        "stream:purge --archived-before 90d --type order --export orders.jsonl --dry-run"
      )
    ),
  "event:replay": () =>
    Command.make("event:replay", ReplayCommand.options, (given) => choose(given, ReplayCommand.run(given))).pipe(
      described("Gives past events to a subscriber again", "event:replay mail --since 2026-11-01 --rate 50")
    ),
  "event:backfill": () =>
    Command.make("event:backfill", BackfillCommand.options, (given) => choose(given, BackfillCommand.run(given))).pipe(
      described("Makes events of rows from before event sourcing", "event:backfill legacy-orders --dry-run")
    ),
  runs: () =>
    Command.make("runs", RunCommands.listOptions, (given) => choose(given, RunCommands.list(given))).pipe(
      described("Shows the long operations that have not ended, with their progress", "runs --json")
    ),
  "runs:cancel": () =>
    Command.make("runs:cancel", RunCommands.cancelOptions, (given) => choose(given, RunCommands.cancel(given))).pipe(
      described(
        "Ends a long operation for good, whichever process is in it",
        "runs:cancel 1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b"
      )
    ),
  schema: () =>
    Command.make("schema", SchemaCommand.options, (given) => choose(given, SchemaCommand.run(given))).pipe(
      described(
        "Prints the DDL for an administrator, without a connection unless --diff is given",
        "schema > es-ops.sql"
      )
    ),
  doctor: () =>
    Command.make("doctor", DoctorCommand.options, (given) => choose(given, DoctorCommand.run(given))).pipe(
      described("Looks for what keeps seeds from being applied, and says what to do", "doctor")
    ),
  "seed:new": () =>
    Command.make("seed:new", NewCommand.options, (given) => choose(given, NewCommand.run(given))).pipe(
      described("Writes a new seed file that passes every check", "seed:new fill-display-names")
    ),
  "seed:mark": () =>
    Command.make("seed:mark", LedgerCommands.markOptions, (given) => choose(given, LedgerCommands.mark(given))).pipe(
      described(
        "Records a seed as applied without running it",
        'seed:mark 2026-11-24-fill-display-names --reason "done by hand"'
      )
    ),
  "seed:unmark": () =>
    Command.make("seed:unmark", LedgerCommands.markOptions, (given) =>
      choose(given, LedgerCommands.unmark(given))
    ).pipe(
      described(
        "Forgets that a seed was applied, so that it runs again",
        'seed:unmark 2026-11-24-fill-display-names --reason "restored from a backup"'
      )
    ),
  "seed:rename": () =>
    Command.make("seed:rename", LedgerCommands.renameOptions, (given) =>
      choose(given, LedgerCommands.rename(given))
    ).pipe(
      described(
        "Gives the marker of a file that was renamed its new id; nothing runs",
        'seed:rename 2026-11-24-fill-display-names 2026-11-24-display-names --reason "a clearer name"'
      )
    ),
  history: () =>
    Command.make("history", LedgerCommands.historyOptions, (given) =>
      choose(given, LedgerCommands.history(given))
    ).pipe(described("Shows the attempts, newest first", "history 2026-11-24-fill-display-names"))
})
