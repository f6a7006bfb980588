/**
 * Events folded into the rows of their keys, some of which were computed before: pure, and the same for folds and for `rows`.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Event } from "../event/Event.js"
import type { Fold, FoldError, Folding, Rows } from "../event/FoldDefinition.js"
import { keyOf, keyText } from "../event/ReadTables.js"
import type { Key, StoredRow } from "../event/Table.js"
import * as RecordedTime from "../operation/RecordedTime.js"

/** The row of a key, as far as events were folded into it: by the million, so that nothing is copied for each. */
interface KeyState {
  readonly key: Key
  /** The row as it was before, or as events gave it by themselves; none where there was none. */
  row: Option.Option<StoredRow>
  /** The date of the first event of the row, for columns that the events do not give. */
  first: string | undefined
  /** The id of the last event. */
  at: bigint | undefined
  folding: Folding | undefined
}

/** An event that cannot be read or folded. Its key, where it could be told, keeps its live row. */
export interface Poison {
  readonly event: Event
  readonly key: Option.Option<Key>
  readonly error: FoldError
}

/** A row that a key has now, or none. */
export interface KeyRow {
  readonly key: Key
  readonly row: Option.Option<StoredRow>
  readonly first: string | undefined
  readonly at: bigint | undefined
}

/** An event's part in the row of one key. */
interface Part {
  readonly key: Key
  readonly text: string
  readonly event: Event
  /** The row that it gives by itself; none in a fold. */
  readonly given: StoredRow | undefined
}

/** The parts of events, in their order; those that cannot be told are poison. */
export interface Parts {
  readonly parts: ReadonlyArray<Part>
  readonly poison: ReadonlyArray<Poison>
}

/** Tells which keys events belong to. */
export const partsOf = (work: Fold | Rows, events: ReadonlyArray<Event>): Parts => {
  const parts: Array<Part> = []
  const poison: Array<Poison> = []
  for (const event of events) {
    const found = partsOfOne(work, event)
    if (Either.isLeft(found)) poison.push({ event, key: Option.none(), error: found.left })
    else parts.push(...found.right)
  }
  return { parts, poison }
}

const partsOfOne = (work: Fold | Rows, event: Event): Either.Either<ReadonlyArray<Part>, FoldError> =>
  work._tag === "Fold"
    ? Either.map(work.keyOf(event), (key) => [{ key, text: keyText(work.table, key), event, given: undefined }])
    : Either.map(work.rowsOf(event), (rows) =>
        rows.map((given) => ({ key: keyOf(work.table, given), text: keyText(work.table, given), event, given }))
      )

/** The keys of parts, each once. */
export const keysOf = ({ parts }: Parts): ReadonlyMap<string, Key> => new Map(parts.map(({ key, text }) => [text, key]))

/** The rows of keys while events are folded into them. */
export class KeyStates {
  readonly #states = new Map<string, KeyState>()

  constructor(
    readonly work: Fold | Rows,
    /** Keys that are left as they are, by their texts. */
    readonly kept: Set<string>
  ) {}

  get size(): number {
    return this.#states.size
  }

  has(text: string): boolean {
    return this.#states.has(text)
  }

  /** Begins a key with a row that was computed before, or with none. */
  begin(key: Key, row: Option.Option<StoredRow>, first?: string, at?: bigint): void {
    this.#states.set(keyText(this.work.table, key), { key, row, first, at, folding: undefined })
  }

  /** Folds parts in; those of keys that were not begun begin with no row. Answers with what could not be folded. */
  add(parts: Iterable<Part>): ReadonlyArray<Poison> {
    const poison: Array<Poison> = []
    for (const part of parts) {
      if (this.kept.has(part.text)) continue
      const error = this.#added(part)
      if (error === undefined) continue
      this.kept.add(part.text)
      this.#states.delete(part.text)
      poison.push({ event: part.event, key: Option.some(part.key), error })
    }
    return poison
  }

  /** Folds a part into its key's state; answers with why that cannot be done. */
  #added({ event, given, key, text }: Part): FoldError | undefined {
    const { work } = this
    let state = this.#states.get(text)
    if (state === undefined) {
      state = { key, row: Option.none(), first: undefined, at: undefined, folding: undefined }
      this.#states.set(text, state)
    }
    if (work._tag === "Rows") state.row = Option.some({ ...Option.getOrUndefined(state.row), ...given })
    else {
      if (state.folding === undefined) {
        const begun = work.begin(key, state.row)
        if (Either.isLeft(begun)) return begun.left
        state.folding = begun.right
      }
      const added = state.folding.add(event)
      if (Either.isLeft(added)) return added.left
    }
    state.first ??= RecordedTime.format(event.createdAt)
    state.at = event.id
    return undefined
  }

  /** The rows as they are now; one that its table does not take is poison, by its last event. */
  rows(): { readonly rows: ReadonlyArray<KeyRow>; readonly failed: ReadonlyArray<readonly [KeyState, FoldError]> } {
    const rows: Array<KeyRow> = []
    const failed: Array<readonly [KeyState, FoldError]> = []
    for (const [text, state] of this.#states) {
      const row = state.folding === undefined ? Either.right(state.row) : state.folding.row()
      if (Either.isRight(row)) rows.push({ key: state.key, row: row.right, first: state.first, at: state.at })
      else {
        this.kept.add(text)
        failed.push([state, row.left])
      }
    }
    return { rows, failed }
  }

  clear(): void {
    this.#states.clear()
  }
}
