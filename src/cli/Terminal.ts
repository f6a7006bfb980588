/**
 * What people and programs read: results on stdout, everything else on stderr; colour on a terminal only, and not with NO_COLOR.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { stderr, stdout } from "node:process"

export class Terminal extends Context.Tag("effect-es-ops/Terminal")<
  Terminal,
  {
    /** A line of results. */
    readonly out: (line: string) => Effect.Effect<void>
    /** A line for people beside the results. */
    readonly err: (line: string) => Effect.Effect<void>
    /** Help, as the command library formats it. */
    readonly help: (text: string) => Effect.Effect<void>
    /** Colours a word of the results. */
    readonly paint: (colour: Colour, text: string) => string
  }
>() {}

export type Colour = "green" | "red" | "yellow" | "dim"

const escapes: { readonly [colour in Colour]: string } = { green: "32", red: "31", yellow: "33", dim: "2" }

/** The process's own streams, as they were before anything could redirect them. */
export const layer: Layer.Layer<Terminal> = Layer.effect(
  Terminal,
  Effect.gen(function* () {
    const noColor = yield* Config.nonEmptyString("NO_COLOR").pipe(Effect.option)
    const coloured = stdout.isTTY && noColor._tag === "None"
    return Terminal.of({
      out: (line) => write(line),
      err: (line) => Effect.sync(() => void stderr.write(`${line}\n`)),
      help: (text) => write(coloured ? text : withoutColour(text)),
      paint: (colour, text) => (coloured ? `\u001B[${escapes[colour]}m${text}\u001B[0m` : text)
    })
  })
)

/** Text without its escape sequences for colour. */
export const withoutColour = (text: string): string => text.replaceAll(ansi, "")

// oxlint-disable-next-line no-control-regex
const ansi = /\u001B\[[0-9;]*m/g

const original = stdout.write.bind(stdout)

// A reader that has seen enough closes the pipe (EPIPE): no reason to fail.
stdout.on("error", () => undefined)
stderr.on("error", () => undefined)

/** Waits until the line is handed over: a pipe that is read slowly loses nothing at exit. */
const write = (line: string): Effect.Effect<void> =>
  Effect.async((resume) => {
    original(`${line}\n`, () => resume(Effect.void))
  })

/** What seeds print goes to stderr from here on, whichever way they print. */
export const keepStdoutForResults: Effect.Effect<void> = Effect.sync(() => {
  stdout.write = stderr.write.bind(stderr)
})
