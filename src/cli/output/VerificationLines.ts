/**
 * The lines about the read tables that a backfill feeds: which are as their events say, which differ, and of which nothing is known. Pure.
 */
import type { Verification } from "../../EsOps.js"
import { column, indented } from "./Layout.js"
import * as ProjectionLines from "./ProjectionLines.js"
import type { Terminal } from "./Terminal.js"

/** What a verification found. */
export const verificationLines = (
  terminal: Terminal["Type"],
  { diffs, problems, unverified }: Verification
): ReadonlyArray<string> => [
  ...(diffs.length === 0 ? [] : ProjectionLines.diffLines(terminal, diffs)),
  ...problems.map(({ message }) => `${terminal.paint("red", column("problem"))}${indented(message)}`),
  ...unverified.map((name) => `${column("unknown")}${name} names no tables: nothing can be compared`),
  ...(diffs.length + problems.length + unverified.length === 0 ? ["No projection is fed by it."] : [])
]
