/**
 * The applied operations of a database, by their ids, and the order of ids, which is the order in which operations are applied.
 */

/** Byte order of ids as PostgreSQL's "C" collation has it, which UTF-16 order differs from above U+FFFF. */
export const order = (a: string, b: string): -1 | 0 | 1 => {
  if (a === b) return 0
  const shared = Math.min(a.length, b.length)
  let at = 0
  while (at < shared && a.charCodeAt(at) === b.charCodeAt(at)) at++
  if (at === shared) return a.length < b.length ? -1 : 1
  return rank(a.charCodeAt(at)) < rank(b.charCodeAt(at)) ? -1 : 1
}

/** Whether ids rise in that order. Plain comparison of strings gives the same answer where no id has anything above U+D7FF. */
export const areRising = (ids: ReadonlyArray<string>): boolean =>
  ids.every((id, at) => !fromSurrogates.test(id) && (at === 0 || (ids[at - 1] ?? "") < id)) ||
  ids.every((id, at) => at === 0 || order(ids[at - 1] ?? "", id) < 0)

const fromSurrogates = /[\ud800-\uffff]/

/** Surrogates, which stand for what is above U+FFFF, come after U+E000 to U+FFFF. */
const rank = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)

/** The separator of ids in one text: U+001F, the unit separator. */
export const separator = "\u001f"

/**
 * Ids with their types of operation. Made of rows, or of one text that is taken apart only when a single id is asked for: most often the
 * question is whether exactly what is listed is applied.
 */
export class AppliedOperations implements ReadonlyMap<string, string> {
  private found: ReadonlyMap<string, string> | undefined

  private constructor(
    private readonly type: string,
    private readonly joined: string,
    private readonly count: number,
    private readonly others: Iterable<readonly [id: string, type: string]>
  ) {}

  /** Makes them of ids with their types. */
  static fromEntries(entries: Iterable<readonly [id: string, type: string]>): AppliedOperations {
    return new AppliedOperations("", "", -1, entries)
  }

  /** Makes them of so many ids of one type, joined by `separator`, none of which has it in it, and of those of other types. */
  static fromText(
    type: string,
    joined: string,
    count: number,
    others: Iterable<readonly [id: string, type: string]>
  ): AppliedOperations {
    return new AppliedOperations(type, joined, count, others)
  }

  /** Whether exactly these ids are applied as operations of this type. One that is listed twice is not exactly that. */
  isExactly(type: string, ids: ReadonlyArray<string>): boolean {
    if (type === this.type) {
      if (ids.length !== this.count) return false
      // Most often they are listed in their order.
      if (ids.join(separator) === this.joined || ids.toSorted(order).join(separator) === this.joined) return true
    }
    const applied = [...this].filter(([, other]) => other === type)
    const listed = new Set(ids)
    return ids.length === applied.length && listed.size === ids.length && applied.every(([id]) => listed.has(id))
  }

  private get map(): ReadonlyMap<string, string> {
    return (this.found ??= new Map<string, string>([
      ...(this.count > 0 ? this.joined.split(separator) : []).map((id): [string, string] => [id, this.type]),
      ...[...this.others].map(([id, type]): [string, string] => [id, type])
    ]))
  }

  get size(): number {
    return this.map.size
  }

  get(id: string): string | undefined {
    return this.map.get(id)
  }

  has(id: string): boolean {
    return this.map.has(id)
  }

  forEach(use: (type: string, id: string, all: ReadonlyMap<string, string>) => void): void {
    this.map.forEach(use)
  }

  entries(): MapIterator<[string, string]> {
    return this.map.entries()
  }

  keys(): MapIterator<string> {
    return this.map.keys()
  }

  values(): MapIterator<string> {
    return this.map.values()
  }

  [Symbol.iterator](): MapIterator<[string, string]> {
    return this.map.entries()
  }
}
