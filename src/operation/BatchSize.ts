/**
 * The size of batches, which follows how long they take: one is to take 0.3 to 1 s, so that nothing is locked for long and little is done again.
 */
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"

/** A size that is told how long each batch took. */
export interface BatchSize {
  /** How many items the next batch is to have. */
  readonly get: Effect.Effect<number>
  /** A batch of `size` items took so many milliseconds. */
  readonly took: (size: number, milliseconds: number) => Effect.Effect<void>
}

const target = { shortest: 300, longest: 1000 } as const

/** A size that begins at `initial` and stays between `min` and `max`. */
export const make = (options: {
  readonly initial: number
  readonly min?: number | undefined
  readonly max?: number | undefined
}): Effect.Effect<BatchSize> =>
  Effect.map(Ref.make(options.initial), (current) => ({
    get: Ref.get(current),
    took: (size, milliseconds) => Ref.update(current, (before) => next(before, size, milliseconds, options))
  }))

/** What follows on a batch of `size`: a batch that was cut short by the end of its source says nothing. */
const next = (
  current: number,
  size: number,
  milliseconds: number,
  { max = Number.MAX_SAFE_INTEGER, min = 1 }: { readonly min?: number | undefined; readonly max?: number | undefined }
): number => {
  const factor =
    milliseconds > target.longest
      ? Math.max(0.25, target.longest / milliseconds / 1.5)
      : milliseconds < target.shortest && size >= current
        ? 2
        : 1
  return Math.min(max, Math.max(min, Math.round((factor < 1 ? Math.min(current, size) : current) * factor)))
}
