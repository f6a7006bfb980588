/**
 * The word that somebody meant: of those that there are, one that is a slip of the keys away. Pure.
 */
import * as Option from "effect/Option"

/**
 * The nearest of these words, if it is near: up to one letter in three is another, missing, added or swapped with its neighbour; or it is the only
 * one that begins so.
 */
export const meant = (given: string, words: ReadonlyArray<string>): Option.Option<string> => {
  const word = given.toLowerCase()
  const near = words
    .map((known) => ({ known, apart: distance(word, known.toLowerCase()) }))
    .filter(({ apart, known }) => apart <= Math.max(1, Math.floor(Math.min(known.length, 9) / 3)))
    .toSorted((a, b) => a.apart - b.apart)
  const longer = word === "" ? [] : words.filter((known) => known.startsWith(word))
  return Option.fromNullable(near[0]?.known ?? (longer.length === 1 ? longer[0] : undefined))
}

/** How many letters have to be changed, left out, added or swapped with their neighbour (optimal string alignment). */
const distance = (a: string, b: string): number => {
  let before: ReadonlyArray<number> = []
  let row = Array.from({ length: b.length + 1 }, (_, n) => n)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      next.push(
        Math.min(
          (row[j] ?? 0) + 1,
          (next[j - 1] ?? 0) + 1,
          (row[j - 1] ?? 0) + (isSame ? 0 : 1),
          isSwapped ? (before[j - 2] ?? 0) + 1 : Infinity
        )
      )
    }
    before = row
    row = next
  }
  return row[b.length] ?? 0
}
