/**
 * What is wrong with a seed before anything is written; all problems of all files are one `SeedsInconsistent`.
 */
import * as Schema from "effect/Schema"

/** The kinds of problems. */
export const SeedProblemTag = Schema.Literal(
  "DuplicateSeedId",
  "SeedImportError",
  "InvalidSeed",
  "UnknownHandler",
  "AmbiguousSkipFlag",
  "LateSeed",
  "IdTaken",
  "SeedSourceError",
  "TableMismatch",
  "NonAtomicWriter",
  "PoolerUnsupported",
  "RenamedSeed"
)
export type SeedProblemTag = typeof SeedProblemTag.Type

/** One problem: what kind, of which seed, in which file, and what to do about it. */
export class SeedProblem extends Schema.Class<SeedProblem>("effect-es-ops/SeedProblem")({
  _tag: SeedProblemTag,
  id: Schema.NullOr(Schema.String),
  path: Schema.NullOr(Schema.String),
  message: Schema.String
}) {}

/** The seeds cannot be applied as they are; nothing was written. */
export class SeedsInconsistent extends Schema.TaggedError<SeedsInconsistent>()("SeedsInconsistent", {
  problems: Schema.NonEmptyArray(SeedProblem)
}) {
  /** The failure for one problem. */
  static of(problem: typeof SeedProblem.Encoded): SeedsInconsistent {
    return new SeedsInconsistent({ problems: [new SeedProblem(problem)] })
  }

  override get message(): string {
    const list = this.problems.map(({ message }) => `  - ${message.replaceAll("\n", "\n    ")}`)
    const count = this.problems.length === 1 ? "1 problem" : `${this.problems.length} problems`
    return `the seeds have ${count}; nothing was applied\n${list.join("\n")}`
  }
}
