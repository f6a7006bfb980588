/**
 * The terminal of people and programs: results on stdout, everything else on stderr; colour and a live line where somebody sees them.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { stderr, stdout } from "node:process"
import type { Colour } from "./Colour.js"
import { coloured } from "./Colour.js"
import * as StandardStreams from "./StandardStreams.js"

export class Terminal extends Context.Tag("effect-es-ops/Terminal")<
  Terminal,
  {
    /** A line of results. */
    readonly out: (line: string) => Effect.Effect<void>
    /** A line for people beside the results. */
    readonly err: (line: string) => Effect.Effect<void>
    /** Colours a word of the results, or of what stands beside them. */
    readonly paint: (colour: Colour, text: string, stream?: "out" | "err") => string
    /** Columns of the terminal that shows the results; infinite where there is none. */
    readonly width: number
    /** Whether a live line can be shown, on stderr. */
    readonly interactive: boolean
    /** Shows this as the last line until something else is written; an empty text removes it. Does nothing unless `interactive`. */
    readonly live: (text: string) => Effect.Effect<void>
  }
>() {}

/** Writes lines of results as one: each write waits until it is handed over. */
export const writeLines = ({ out }: Terminal["Type"], lines: ReadonlyArray<string>): Effect.Effect<void> =>
  lines.length === 0 ? Effect.void : out(lines.join("\n"))

/** The process's own streams. */
export const layer: Layer.Layer<Terminal> = Layer.effect(
  Terminal,
  Effect.gen(function* () {
    const isDumb = Option.contains(yield* Effect.option(Config.string("TERM")), "dumb")
    const isPlain = isDumb || Option.isSome(yield* Effect.option(Config.nonEmptyString("NO_COLOR")))
    const showsColour = { out: stdout.isTTY && !isPlain, err: stderr.isTTY && !isPlain }
    const interactive = stderr.isTTY && !isDumb
    return Terminal.of({
      out: StandardStreams.writeResult,
      err: StandardStreams.writeLine,
      paint: (colour, text, stream = "out") => (showsColour[stream] ? coloured(colour, text) : text),
      // A terminal that does not know its size says 0.
      width: stdout.isTTY && stdout.columns > 0 ? stdout.columns : Infinity,
      interactive,
      live: (text) => (interactive ? StandardStreams.drawLive(text) : Effect.void)
    })
  })
)
