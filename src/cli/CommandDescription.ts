/**
 * The description of a command as data: its name, its arguments and its options. Help, completions and usage errors are written from it.
 */
import type * as Option from "effect/Option"

export interface CommandDescription {
  readonly name: string
  /** What the command does, in one sentence. */
  readonly about: string
  /** How it is typed, without `es-ops`. */
  readonly example: string
  /** Positional, by their names in angle brackets: `<id>`, or `[<id>]` where it may be left out. */
  readonly arguments: ReadonlyArray<{ readonly name: string; readonly about: string }>
  readonly options: ReadonlyArray<OptionDescription>
}

export interface OptionDescription {
  /** Without its dashes. */
  readonly name: string
  readonly about: string
  /** None for a switch. */
  readonly value: Option.Option<OptionValue>
}

/** The value that an option takes: one of some words, a path, or any text. */
export interface OptionValue {
  /** Stands for the value in help: `<duration>`, `run|fail`. */
  readonly name: string
  readonly kind: "words" | "folder" | "file" | "text"
  /** The words to choose from; empty for every other kind. */
  readonly words: ReadonlyArray<string>
}
