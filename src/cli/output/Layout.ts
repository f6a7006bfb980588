/**
 * Lines as people read them: columns, durations and counts. Pure.
 */

/** A state at the beginning of a line. */
export const column = (text: string): string => text.padEnd(12)

/** What follows the first lines of a text, below its column. */
export const indented = (text: string): string => text.replaceAll("\n", `\n${column("")}`)

/** A number with its noun. */
export const counted = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`

/** Milliseconds as people read them. */
export const duration = (milliseconds: number): string => {
  if (milliseconds < 1000) return `${milliseconds} ms`
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`
  return `${Math.floor(milliseconds / 60_000)} min ${Math.floor((milliseconds % 60_000) / 1000)} s`
}

/** Wide enough for every duration below an hour. */
export const durationColumn = (milliseconds: number): string => duration(milliseconds).padStart(9)

/** Whole seconds since then. */
export const seconds = (milliseconds: number): string => `${Math.floor(milliseconds / 1000)} s`

/** An instant as `2026-11-24 21:07:55Z`; what is none stays as it is. */
export const instant = (iso: string): string => iso.replace(/^([-+]?\d+-\d\d-\d\d)T([\d:]{8})(?:\.\d+)?Z$/, "$1 $2Z")

/** Rows with their cells below each other; the last cell is cut where the terminal ends. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>, width: number): ReadonlyArray<string> => {
  const widths = rows.reduce<ReadonlyArray<number>>(
    (widest, row) => row.map((cell, index) => Math.max(widest[index] ?? 0, cell.length)),
    []
  )
  return rows.map((row) => {
    const last = row.length - 1
    const line = row.map((cell, index) => (index === last ? cell : cell.padEnd(widths[index] ?? 0))).join("  ")
    return cut(line.trimEnd(), width)
  })
}

/** The text, or as much of it as fits. */
export const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`

/** The text in lines of whole words, none longer than `width` unless a word is. */
export const wrapped = (text: string, width: number): ReadonlyArray<string> =>
  text.split(" ").reduce<ReadonlyArray<string>>((lines, word) => {
    const last = lines.at(-1)
    if (last === undefined) return [word]
    return last.length + 1 + word.length <= width ? [...lines.slice(0, -1), `${last} ${word}`] : [...lines, word]
  }, [])
