/**
 * The signals that end the command in order, and those that come before it can do so.
 */
import process from "node:process"

export const names = ["SIGINT", "SIGTERM"] as const

export type Signal = (typeof names)[number]

/** 128 and the number of the signal, as a shell has it. */
export const exitCodes: { readonly [signal in Signal]: number } = { SIGINT: 130, SIGTERM: 143 }

/** Signals that are kept for a program that is still being loaded. */
export interface Kept {
  /** Those that came, in order. */
  readonly signals: ReadonlyArray<Signal>
  /** Keeps no more of them: from here on the program has to listen itself. */
  readonly release: () => void
}

/** Keeps the signals that come from here on, which would end the process otherwise. */
export const keep = (): Kept => {
  const signals: Array<Signal> = []
  const note = (signal: Signal): number => signals.push(signal)
  for (const name of names) process.on(name, note)
  return {
    signals,
    release: () => {
      for (const name of names) process.off(name, note)
    }
  }
}
