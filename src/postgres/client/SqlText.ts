/**
 * Text of SQL: the first words of a statement as the server would see them (white space, comments and stray semicolons passed over), literals,
 * and lists of names.
 */
import { defaultEscape } from "@effect/sql/Statement"
import * as Option from "effect/Option"
import { harmless, passing, scoped } from "./PassingWords.js"

/** The first `count` words in upper case; an opening parenthesis is a word. */
export const firstWords = (text: string, count: number): ReadonlyArray<string> => {
  const words: Array<string> = []
  let at = 0
  while (words.length < count) {
    at = afterSpace(text, at, words.length === 0)
    const word = text.charAt(at) === "(" ? "(" : (/^[A-Za-z_]\w*/.exec(text.slice(at, at + 64))?.[0] ?? "")
    if (word === "") return words
    words.push(word.toUpperCase())
    at += word.length
  }
  return words
}

const control = new Set(["BEGIN", "START", "COMMIT", "END", "ABORT"])

/** What a statement does to the transaction, if its first words say so: `COMMIT`, `ROLLBACK`, `PREPARE TRANSACTION`, … */
export const transactionControl = (text: string): Option.Option<string> => {
  const [first = "", second = "", third = ""] = firstWords(text, 3)
  if (control.has(first)) return Option.some(first)
  if (first === "PREPARE" && second === "TRANSACTION") return Option.some("PREPARE TRANSACTION")
  const target = second === "WORK" || second === "TRANSACTION" ? third : second
  return first === "ROLLBACK" && target !== "TO" ? Option.some("ROLLBACK") : Option.none()
}

/**
 * `CLOSE ALL` and `DISCARD ALL` would close the guard of the transaction, after which a COMMIT in the same text would go through: found
 * anywhere in a text of several statements.
 */
export const closesCursors = (text: string): Option.Option<string> => {
  const bare = text.replaceAll(/\/\*[\s\S]*?\*\/|--[^\n]*/g, " ").trim()
  return Option.fromNullable(/\b(?:close|discard)\s+all\b/i.exec(bare)).pipe(
    Option.filter(({ index }) => index === 0 || bare.includes(";")),
    Option.map(([found]) => found.toUpperCase())
  )
}

/** An identifier between double quotes. */
export const quote = defaultEscape('"')

/** What a statement of a body does beside reading and writing. */
export interface Looked {
  /** What it may not do to its transaction or to the guard of it, if that is what it does. */
  readonly forbidden: Option.Option<string>
  /** Whether its session may be another one behind the transaction. */
  readonly outlives: boolean
  /** Whether it may set the encoding of what is sent. */
  readonly encodes: boolean
  /** Whether it may give a table a trigger or a rule. */
  readonly defines: boolean
  /** The application's own settings that it names, such as `app.tenant`, if it may set any. */
  readonly settings: ReadonlyArray<string>
}

/** Looks at a statement of a body. */
export const look = (text: string, params: ReadonlyArray<unknown>): Looked => {
  const isLasting = outlives(text, params)
  return {
    forbidden: forbidden(text, params),
    outlives: isLasting,
    defines: isLasting || definition.test(text),
    encodes: mayEncode(text, params),
    settings: ownSettings(text, params)
  }
}

const definition = /\b(?:create|alter|drop|import)\b/i

const encoding = /client_encoding/i

/** Whether a statement may set `client_encoding`, if it says so by its name or as SET NAMES. */
export const mayEncode = (text: string, params: ReadonlyArray<unknown>): boolean =>
  encoding.test(text) ||
  /\bset\s+(?:(?:local|session)\s+)?names\b/i.test(text) ||
  params.some((param) => typeof param === "string" && encoding.test(param))

const setting = /\bset(?:_config\s*\(|\s)/i

const ownSetting = /\b[a-z_]\w*\.[a-z_]\w*\b/gi

const noSettings: ReadonlyArray<string> = []

const ownSettings = (text: string, params: ReadonlyArray<unknown>): ReadonlyArray<string> => {
  if (!setting.test(text) || (!text.includes(";") && passing.has(firstWords(text, 1)[0] ?? ""))) return noSettings
  return [text, ...params].flatMap((part) => (typeof part === "string" ? (part.match(ownSetting) ?? []) : []))
}

const leaving = /\b(?:set_config|pg_(?:try_)?advisory_lock(?:_shared)?|pg_advisory_unlock\w*|setseed|dblink\w*)"?\s*\(/i

const called = /([a-z_]\w*)"?\s*\(/gi

/**
 * Whether a text may leave something in its session: a setting, a prepared statement, a session's lock, a channel that is listened to. A function
 * that is called by SELECT may do all of that, where it is none of the server's that are known not to.
 */
const outlives = (text: string, params: ReadonlyArray<unknown>): boolean => {
  if (leaving.test(text)) return true
  if (params.length > 0 || !text.includes(";")) return mayOutlive(text)
  return withoutLiterals(text)
    .split(";")
    .some((part) => mayOutlive(part))
}

const mayOutlive = (statement: string): boolean => {
  const [first = "", second = ""] = firstWords(statement, 2)
  if (passing.has(first)) return false
  if (first === "SET") return !scoped.has(second)
  if (first === "SELECT" || first === "(")
    return [...withoutLiterals(statement).matchAll(called)].some(([, name = ""]) => !harmless.has(name.toLowerCase()))
  return first !== "" || /\w/.test(statement)
}

/** Without comments, and without what is between quotes or dollars. */
const withoutLiterals = (text: string): string =>
  text.replaceAll(/\$(\w*)\$[\s\S]*?\$\1\$|'(?:[^']|'')*'|\/\*[\s\S]*?\*\/|--[^\n]*/g, (found) =>
    found.startsWith("/*") || found.startsWith("--") ? " " : "''"
  )

/** What a statement of a body may not do to its transaction or to the guard of it, if that is what it does. */
export const forbidden = (text: string, params: ReadonlyArray<unknown>): Option.Option<string> => {
  const control = transactionControl(text)
  return Option.isSome(control) || params.length > 0 ? control : closesCursors(text)
}

/** A string literal, whatever `standard_conforming_strings` says (PostgreSQL manual, 4.1.2.2). NUL, which no text has there, would end the message. */
export const literal = (text: string): string => {
  const quoted = `'${text.replaceAll("\u0000", "\uFFFD").replaceAll("'", "''").replaceAll("\\", "\\\\")}'`
  return text.includes("\\") ? ` E${quoted}` : quoted
}

/** A value that is written as a constant. */
export type Constant = string | number | null

/** Columns, and their values as constants in the same order. */
export interface Constants {
  readonly columns: ReadonlyArray<string>
  readonly values: ReadonlyArray<string>
}

/** The columns that have a value. */
export const constants = (row: Readonly<Record<string, Constant>>): Constants => {
  const columns: Array<string> = []
  const values: Array<string> = []
  for (const [column, value] of Object.entries(row)) {
    if (value === null) continue
    columns.push(column)
    values.push(typeof value === "string" ? literal(value) : `${value}`)
  }
  return { columns, values }
}

/** The names of a list such as a search path is shown as; none for a text that is no such list. */
export const names = (list: string): Option.Option<ReadonlyArray<string>> => {
  const found: Array<string> = []
  const name = /\s*(?:"((?:[^"]|"")+)"|([a-zA-Z_]\w*))\s*(,|$)/y
  for (let ends = false; !ends;) {
    const [, quoted, plain, after] = name.exec(list) ?? []
    if (after === undefined) return Option.none()
    found.push(quoted === undefined ? (plain ?? "").toLowerCase() : quoted.replaceAll('""', '"'))
    ends = after === ""
  }
  return Option.some(found)
}

const reading = new Set(["SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "("])

/** Whether the statement begins like one that reads. */
export const beginsReading = (text: string): boolean => firstWords(text, 1).some((word) => reading.has(word))

const afterSpace = (text: string, from: number, semicolons: boolean): number => {
  let at = from
  for (;;) {
    const next = text.charAt(at)
    if (/\s/.test(next) || (semicolons && next === ";")) at++
    else if (text.startsWith("--", at)) at = endOf(text.indexOf("\n", at), text)
    else if (text.startsWith("/*", at)) at = afterComment(text, at)
    else return at
  }
}

/** Block comments nest (PostgreSQL manual, 4.1.5). */
const afterComment = (text: string, from: number): number => {
  let depth = 0
  let at = from
  do {
    if (text.startsWith("/*", at)) {
      depth++
      at += 2
    } else if (text.startsWith("*/", at)) {
      depth--
      at += 2
    } else at++
  } while (depth > 0 && at < text.length)
  return at
}

const endOf = (index: number, text: string): number => (index === -1 ? text.length : index + 1)
