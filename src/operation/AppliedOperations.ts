/**
 * What is applied to a database: the ids of operations, with their types.
 */
import { areRising, order } from "./Operation.js"

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

  /** Of ids with their types. */
  static fromEntries(entries: Iterable<readonly [id: string, type: string]>): AppliedOperations {
    return new AppliedOperations("", "", -1, entries)
  }

  /** Of so many ids of one type, joined by `separator`, none of which has it in it, and of those of other types. */
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
    if (type === this.type && ids.length !== this.count) return false
    if (type === this.type && (areRising(ids) ? ids : ids.toSorted(order)).join(separator) === this.joined) return true
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
