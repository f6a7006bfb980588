/**
 * The lines of the doctor's findings for people: each with its detail, and what to do about it.
 */
import * as Option from "effect/Option"
import type { Finding } from "../../operation/DatabaseHealth.js"
import type { Terminal } from "./Terminal.js"

/** The findings in their order, and how many of them need a look. */
export const findingLines = ({ paint }: Terminal["Type"], found: ReadonlyArray<Finding>): ReadonlyArray<string> => {
  const wrongs = found.filter(({ fault }) => fault !== "none").length
  const width = Math.max(...found.map(({ name }) => name.length)) + 2
  const mark = ({ fault }: Finding) => (fault === "none" ? paint("green", "ok   ") : paint("red", "wrong"))
  return [
    ...found.flatMap((finding) => [
      `${mark(finding)} ${finding.name.padEnd(width)}${below(finding.detail, width)}`,
      ...Option.toArray(finding.fix).map((fix) => `      ${"".padEnd(width)}${paint("dim", `→ ${below(fix, width)}`)}`)
    ]),
    wrongs === 0 ? "Nothing is wrong." : `${wrongs} of ${found.length} need a look.`
  ]
}

/** What follows the first line of a text stands below it. */
const below = (text: string, width: number): string => text.replaceAll("\n", `\n${"".padEnd(width + 6)}`)
