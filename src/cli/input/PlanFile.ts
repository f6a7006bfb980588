/**
 * The file of a plan: a line for each stream, as CSV or as a JSON object. Pure, but for the reading.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import { readFile } from "node:fs/promises"
import { describe } from "../../operation/ErrorDescription.js"
import { UsageError } from "../UsageError.js"
import { isUuid } from "./OptionForm.js"

/** The columns of a plan, with other names behind a `|`. Those that end in `?` may be left out or empty; all others are UUIDs. */
export type Columns = ReadonlyArray<string>

/** A line by its columns. */
export type PlanLine = Readonly<Record<string, string>>

/** Reads a plan. Everything that is wrong with it is one `UsageError`. */
export const read = (file: string, columns: Columns): Effect.Effect<ReadonlyArray<PlanLine>, UsageError> =>
  Effect.flatMap(
    Effect.tryPromise({
      try: () => readFile(file, "utf8"),
      catch: (error) => new UsageError({ reason: `--plan: ${file} cannot be read: ${describe(error).message}` })
    }),
    (text) => Either.mapLeft(parse(text, columns), (problems) => new UsageError({ reason: reasonOf(file, problems) }))
  )

/** So many lines are shown of what is wrong. */
const shown = 20

const reasonOf = (file: string, problems: ReadonlyArray<string>): string =>
  [
    `--plan: ${file} cannot be used:`,
    ...problems.slice(0, shown),
    ...(problems.length > shown ? [`and ${problems.length - shown} more`] : [])
  ].join("\n")

/** The lines of a plan, or what is wrong with each that cannot be used. */
export const parse = (
  text: string,
  columns: Columns
): Either.Either<ReadonlyArray<PlanLine>, ReadonlyArray<string>> => {
  const lines: Array<PlanLine> = []
  const problems: Array<string> = []
  let header = columns.map(nameOf)
  for (const [index, raw] of text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    const line = raw.trim()
    if (line === "") continue
    const cells = line.startsWith("{") ? fromJson(line) : fromCsv(line, header)
    if (lines.length === 0 && problems.length === 0 && !line.startsWith("{") && isHeader(line, columns)) {
      header = cellsOf(line).map((name) => columnOf(columns, name))
      continue
    }
    const [other] = lines.length === 0 && problems.length === 0 && !line.startsWith("{") ? strange(line, columns) : []
    // Without its columns, no line can be read.
    if (other !== undefined) return Either.left([`line ${index + 1}: ${unknown(other, columns)}`])
    const found = Either.flatMap(cells, (given) => checked(renamed(given, columns), columns))
    if (Either.isLeft(found)) problems.push(`line ${index + 1}: ${found.left}`)
    else lines.push(found.right)
  }
  if (lines.length === 0 && problems.length === 0) problems.push("it has no line")
  return problems.length > 0 ? Either.left(problems) : Either.right(lines)
}

const nameOf = (column: string): string => column.replace(/[|?].*$/, "")

/** The name of the column that a header or an object calls so. */
const columnOf = (columns: Columns, name: string): string => {
  const column = columns.find((each) => each.replace(/\?$/, "").split("|").includes(name))
  return column === undefined ? name : nameOf(column)
}

/** A first line that names the columns, in whatever order. */
const isHeader = (line: string, columns: Columns): boolean => cellsOf(line).every(isColumn(columns))

/** The names that are no columns, in a line that names some, and no stream. */
const strange = (line: string, columns: Columns): ReadonlyArray<string> => {
  const cells = cellsOf(line)
  const others = cells.filter(Predicate.not(isColumn(columns)))
  return others.length < cells.length && !cells.some((cell) => isUuid(cell)) ? others : []
}

const isColumn = (columns: Columns) => {
  const names = new Set(columns.map(nameOf))
  return (name: string): boolean => names.has(columnOf(columns, name))
}

const unknown = (name: string, columns: Columns): string =>
  `there is no "${name}": the columns are ${columns.map(nameOf).join(",")}`

/** The cells of a line; between double quotes a comma is text, and a double quote is doubled. */
const cellsOf = (line: string): ReadonlyArray<string> =>
  [...line.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*(?:,|$)/g)]
    .slice(0, line.endsWith(",") ? undefined : -1)
    .map(([, quoted, plain = ""]) => (quoted === undefined ? plain.trim() : quoted.replaceAll('""', '"')))

const fromCsv = (line: string, header: ReadonlyArray<string>): Either.Either<PlanLine, string> => {
  const cells = cellsOf(line)
  return cells.length > header.length
    ? Either.left(`it has ${cells.length} values where there are ${header.length} columns: ${header.join(",")}`)
    : Either.right(Object.fromEntries(header.map((name, at) => [name, cells[at] ?? ""])))
}

const fromJson = (line: string): Either.Either<PlanLine, string> =>
  Either.flatMap(
    Either.try({ try: (): unknown => JSON.parse(line), catch: () => "it is no JSON object" }),
    (value): Either.Either<PlanLine, string> => {
      if (!Predicate.isReadonlyRecord(value)) return Either.left("it is no JSON object")
      const other = Object.entries(value).find(([, cell]) => !Predicate.isString(cell) && cell !== null)
      return other === undefined
        ? Either.right(Object.fromEntries(Object.entries(value).map(([name, cell]) => [name, String(cell ?? "")])))
        : Either.left(`"${other[0]}" is no text`)
    }
  )

const renamed = (given: PlanLine, columns: Columns): PlanLine =>
  Object.fromEntries(Object.entries(given).map(([name, cell]) => [columnOf(columns, name), cell]))

const checked = (given: PlanLine, columns: Columns): Either.Either<PlanLine, string> => {
  const names = columns.map(nameOf)
  const other = Object.keys(given).find((name) => !names.includes(name))
  if (other !== undefined) return Either.left(unknown(other, columns))
  for (const column of columns.filter((each) => !each.endsWith("?")).map(nameOf)) {
    const cell = given[column] ?? ""
    if (cell === "") return Either.left(`"${column}" is missing: the columns are ${names.join(",")}`)
    if (!isUuid(cell)) return Either.left(`"${column}" is no UUID: ${JSON.stringify(cell)}`)
  }
  return Either.right(given)
}
