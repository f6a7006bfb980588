/**
 * What people and programs read: results on stdout, everything else on stderr; colour and a live line on a terminal only.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { stderr, stdout } from "node:process"

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

/** Colours by what they are used for. */
export type Colour = "green" | "red" | "yellow" | "dim"

const escapes: { readonly [colour in Colour]: string } = { green: "32", red: "31", yellow: "33", dim: "2" }

/** Back to the first column, and everything after it removed. */
const clearLine = "\r\u001B[K"

/** The process's own streams, as they were before anything could redirect them. */
export const layer: Layer.Layer<Terminal> = Layer.effect(
  Terminal,
  Effect.gen(function* () {
    const isSet = (name: string) => Effect.map(Effect.option(Config.nonEmptyString(name)), Option.isSome)
    const plain = (yield* isSet("NO_COLOR")) || (yield* isDumb)
    const coloured = { out: stdout.isTTY && !plain, err: stderr.isTTY && !plain }
    const interactive = stderr.isTTY && !(yield* isDumb)
    return Terminal.of({
      out: (line) => write(line),
      err: (line) => Effect.sync(() => void stderr.write(`${line}\n`)),
      paint: (colour, text, stream = "out") => (coloured[stream] ? `\u001B[${escapes[colour]}m${text}\u001B[0m` : text),
      // A terminal that does not know its size says 0.
      width: stdout.isTTY && stdout.columns > 0 ? stdout.columns : Infinity,
      interactive,
      live: (text) =>
        Effect.sync(() => {
          if (!interactive) return
          const columns = stderr.columns > 0 ? stderr.columns : 80
          const fits = text.length < columns ? text : `${text.slice(0, columns - 2)}…`
          if (fits === "" && !shown) return
          originals.err(`${clearLine}${fits}`)
          shown = fits !== ""
        })
    })
  })
)

const isDumb = Effect.map(Effect.option(Config.string("TERM")), Option.contains("dumb"))

let asEntries = false

/** What is said from here on when there is no log any more is an entry of it, like the lines before. */
export const sayEntries = (): void => {
  asEntries = true
}

/** Says what ends the process, at once, where nothing else can be said. */
export const sayLast = (text: string): void => {
  const entry = { message: text, logLevel: "ERROR", timestamp: new Date().toISOString() }
  stderr.write(asEntries ? `${JSON.stringify(entry)}\n` : `error: ${text}\n`)
}

/** Text without its escape sequences for colour. */
export const withoutColour = (text: string): string => text.replaceAll(ansi, "")

// oxlint-disable-next-line no-control-regex
const ansi = /\u001B\[[0-9;]*m/g

const originals = { out: stdout.write.bind(stdout), err: stderr.write.bind(stderr) }

/** Whether a live line stands on the terminal. */
let shown = false

/** Whatever is written takes the place of the live line. */
const overLive = (original: typeof stdout.write): typeof stdout.write =>
  new Proxy(original, {
    apply: (target, self, args) => {
      if (shown) originals.err(clearLine)
      shown = false
      return Reflect.apply(target, self, args)
    }
  })

stdout.write = overLive(originals.out)
stderr.write = overLive(originals.err)

const results = stdout.write.bind(stdout)

let unwritten = Option.none<Error>()

/** Why results were not written, if so. */
export const lost = (): Option.Option<Error> => unwritten

stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough closes the pipe: no reason to fail.
  if (error.code !== "EPIPE" && Option.isNone(unwritten)) unwritten = Option.some(error)
})
stderr.on("error", () => undefined)

/** Waits until the line is handed over: a pipe that is read slowly loses nothing at exit. */
const write = (line: string): Effect.Effect<void> =>
  Effect.async((resume) => {
    results(`${line}\n`, () => resume(Effect.void))
  })

/** What seeds print goes to stderr from here on, whichever way they print. */
export const keepStdoutForResults: Effect.Effect<void> = Effect.sync(() => {
  stdout.write = stderr.write.bind(stderr)
})
