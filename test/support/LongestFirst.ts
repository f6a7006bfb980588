/**
 * The order of the test files: those that take long come first, so that none of them is left over for one worker at the end.
 */
import type { TestSpecification } from "vitest/node"
import { BaseSequencer } from "vitest/node"

/** The longest, by the end of their paths; a file that is not named comes after them. */
const longest: ReadonlyArray<string> = [
  "test/package.test.ts",
  "test/examples.test.ts",
  "cli/Embedded.test.ts",
  "cli/process/CommandProcess.test.ts",
  "nodes/nodes.test.ts",
  "cli/Signals.test.ts",
  "nodes/TypeScriptSeeds.test.ts",
  "faults/faults.test.ts",
  "faults/surroundings.test.ts",
  "reference/faults.test.ts",
  "faults/crowds.test.ts",
  "process/SeedProcesses.test.ts",
  "cli/LockedTables.test.ts",
  "cli/Terminal.test.ts",
  "process/RunProcesses.test.ts",
  "cli/SeedCommands.test.ts",
  "cli/InterruptedCommit.test.ts",
  "run/OutsideTransaction.postgres.test.ts",
  "rebuild/rebuild.test.ts",
  "run/StepBody.postgres.test.ts",
  "cli/RenamedSeeds.test.ts",
  "cli/DoctorCommand.test.ts",
  "cli/RunningSeeds.test.ts",
  "process/BatchProcesses.test.ts",
  "faults/hostile.test.ts",
  "test/ports.test.ts",
  "test/docs.test.ts",
  "embedded/PgliteMemory.test.ts",
  "run/HeldLock.postgres.test.ts",
  "run/StepLock.postgres.test.ts",
  "reference/loader.test.ts",
  "reference/fleet.test.ts",
  "reference/database.test.ts",
  "rebuild/Circumstances.test.ts",
  "rebuild/OtherTransactions.test.ts",
  "cluster/processes.test.ts",
  "stream/Streams.test.ts",
  "backfill/BackfillKills.test.ts",
  "transaction/AbandonedStatements.test.ts",
  "transaction/WhereRecordsGo.test.ts",
  "cli/PurgeCommand.test.ts"
]

const placeOf = ({ moduleId }: TestSpecification): number => {
  const place = longest.findIndex((end) => moduleId.endsWith(`/${end}`))
  return place === -1 ? longest.length : place
}

export class LongestFirst extends BaseSequencer {
  /** The others stay in the order that vitest gives them. */
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    return (await super.sort(files)).toSorted((a, b) => placeOf(a) - placeOf(b))
  }
}
