/**
 * Statements that free locks of their session: found wherever they stand in a text, as the server would read it, and not where their words are
 * only quoted.
 */
import * as Option from "effect/Option"

/** What of a statement frees locks of the session, if anything does: `DISCARD ALL`, `pg_advisory_unlock_all`, … */
export const freesLock = (text: string): Option.Option<string> => {
  // Most texts have neither word: these are not read.
  if (!/discard|unlock|u&/i.test(text)) return Option.none()
  return Option.map(Option.fromNullable(freeing.exec(codeOf(text))), ([found]) =>
    found.toLowerCase().startsWith("pg") ? found.toLowerCase() : "DISCARD ALL"
  )
}

const freeing = /\bpg_advisory_unlock\w*|\bdiscard\s+all\b/i

/** A comment, a literal or a name between quotes begins here, or a text between dollars (PostgreSQL manual, 4.1). */
const quoted =
  /--[^\n]*|\/\*|(?<!\w)e'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|(?<!\w)u&"(?:[^"]|"")*"|"(?:[^"]|"")*"|(?<![\w$])\$(?:[a-z_]\w*)?\$/gi

/** The text without its comments and literals; the code of a DO block is code as well. */
const codeOf = (text: string): string => {
  const runsCode = /(?:^|;|\s|\*\/)do\b/i.test(text)
  let code = ""
  let at = 0
  quoted.lastIndex = 0
  for (let found = quoted.exec(text); found !== null; found = quoted.exec(text)) {
    code += text.slice(at, found.index)
    const [token] = found
    at = found.index + token.length
    if (token.startsWith("--")) code += "\n"
    else if (token === "/*") {
      at = afterComment(text, at)
      code += " "
    } else if (token.startsWith("$")) {
      const end = text.indexOf(token, at)
      const inside = end === -1 ? text.slice(at) : text.slice(at, end)
      code += runsCode ? ` ${codeOf(inside)} ` : " '' "
      at = end === -1 ? text.length : end + token.length
    } else if (/^u&"/i.test(token)) code += nameOf(unescaped(token.slice(2)))
    else code += token.startsWith('"') ? nameOf(token) : " '' "
    quoted.lastIndex = at
  }
  return code + text.slice(at)
}

/** Block comments nest; `from` is behind the beginning of one. */
const afterComment = (text: string, from: number): number => {
  const edge = /\/\*|\*\//g
  edge.lastIndex = from
  let depth = 1
  for (let found = edge.exec(text); found !== null; found = edge.exec(text)) {
    depth += found[0] === "/*" ? 1 : -1
    if (depth === 0) return edge.lastIndex
  }
  return text.length
}

/** One word, whatever is in it. */
const nameOf = (name: string): string => ` ${name.slice(1, -1).replaceAll(/\W/g, "_")} `

/** A name in which letters are written by their numbers. */
const unescaped = (name: string): string =>
  name.replaceAll(/\\(?:\+([\da-f]{6})|([\da-f]{4}))/gi, (_, long?: string, short?: string) => {
    const point = Number.parseInt(long ?? short ?? "", 16)
    return point <= 0x10ffff ? String.fromCodePoint(point) : " "
  })
