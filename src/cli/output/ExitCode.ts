/**
 * The exit code of a failure, by which a shell or a pipeline decides.
 */

const codes: { readonly [tag: string]: number } = {
  SeedFailed: 1,
  SeedFailedElsewhere: 1,
  SeedInterrupted: 1,
  UsageError: 2,
  SeedsPending: 3,
  SnapshotDiffers: 3,
  ProjectionsOutdated: 3,
  SeedsInconsistent: 4,
  SettingError: 4,
  TableMismatch: 4,
  StreamsRefused: 4,
  MovesRefused: 4,
  PurgeRefused: 4,
  ReplayForbidden: 4,
  RebuildRefused: 4,
  MovesUnsettled: 5,
  LockTimeout: 5,
  RunInProgress: 5,
  SettleTimeout: 5,
  CutOverTimeout: 5,
  DatabaseError: 6,
  CommitUnknown: 6,
  EmbeddedInUse: 6,
  RunCancelled: 130
}

/** The exit code of a failure with this tag. */
export const exitCode = (tag: string): number => codes[tag] ?? 1
