/**
 * The order of the test files: those that take long come first, so that none of them is left over for one worker at the end.
 */
import type { TestSpecification } from "vitest/node"
import { BaseSequencer } from "vitest/node"

/** The longest, by the end of their paths; a file that is not named comes after them. */
const longest: ReadonlyArray<string> = [
  "cli/Embedded.test.ts",
  "cli/Signals.test.ts",
  "cli/LockedTables.test.ts",
  "test/package.test.ts",
  "nodes/nodes.test.ts",
  "faults/faults.test.ts",
  "process/SeedProcesses.test.ts",
  "cli/SeedCommands.test.ts",
  "cli/process/CommandProcess.test.ts",
  "faults/crowds.test.ts",
  "reference/faults.test.ts",
  "run/OutsideTransaction.postgres.test.ts",
  "faults/surroundings.test.ts",
  "cli/Terminal.test.ts",
  "nodes/TypeScriptSeeds.test.ts",
  "cli/RenamedSeeds.test.ts",
  "cli/RunningSeeds.test.ts",
  "test/examples.test.ts",
  "test/readme.test.ts",
  "reference/fleet.test.ts",
  "reference/database.test.ts",
  "cli/RefusedCommands.test.ts",
  "cli/DoctorCommand.test.ts"
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
