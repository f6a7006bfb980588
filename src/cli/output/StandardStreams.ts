/**
 * The standard streams of this process: a live line that everything else replaces, results that wait until they are handed over, and what
 * becomes of them where they cannot be written.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { stderr, stdout } from "node:process"

/** Back to the first column, and everything after it removed. */
const clearLine = "\r\u001B[K"

const originals = { out: stdout.write.bind(stdout), err: stderr.write.bind(stderr) }

const state = {
  /** Whether a live line stands on the terminal. */
  live: false,
  /** Why results were not written. */
  lost: Option.none<Error>()
}

/** The same writer, which removes the live line before it writes. */
const overLiveLine = (original: typeof stdout.write): typeof stdout.write =>
  new Proxy(original, {
    apply: (target, self, args) => {
      if (state.live) originals.err(clearLine)
      state.live = false
      return Reflect.apply(target, self, args)
    }
  })

stdout.write = overLiveLine(originals.out)
stderr.write = overLiveLine(originals.err)

/** Kept, as stdout is taken from everybody else where it holds a document. */
const toStdout = stdout.write.bind(stdout)

stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough closes the pipe: no reason to fail.
  if (error.code !== "EPIPE" && Option.isNone(state.lost)) state.lost = Option.some(error)
})
stderr.on("error", () => undefined)

/** Writes a line of results and waits until it is handed over: a pipe that is read slowly loses nothing at exit. */
export const writeResult = (line: string): Effect.Effect<void> =>
  Effect.async((resume) => {
    toStdout(`${line}\n`, () => resume(Effect.void))
  })

/** Writes a line to stderr. */
export const writeLine = (line: string): Effect.Effect<void> => Effect.sync(() => void stderr.write(`${line}\n`))

/** Draws the live line anew; an empty text removes it. */
export const drawLive = (text: string): Effect.Effect<void> =>
  Effect.sync(() => {
    const columns = stderr.columns > 0 ? stderr.columns : 80
    const fits = text.length < columns ? text : `${text.slice(0, columns - 2)}…`
    if (fits === "" && !state.live) return
    originals.err(`${clearLine}${fits}`)
    state.live = fits !== ""
  })

/** Sends to stderr what anything but `writeResult` prints from here on, whichever way it prints. */
export const keepStdoutForResults: Effect.Effect<void> = Effect.sync(() => {
  stdout.write = stderr.write.bind(stderr)
})

/** The reason why results were not written, if they were not. */
export const lostResults = (): Option.Option<Error> => state.lost
