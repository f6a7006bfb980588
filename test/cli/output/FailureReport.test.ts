/**
 * The report of a failure on stderr: as text, and as an entry of the log.
 */
import { assert, describe, it } from "@effect/vitest"
import { Console, Effect, Option, Schema } from "effect"
import * as FailureReport from "../../../src/cli/output/FailureReport.js"
import * as Logging from "../../../src/cli/output/Logging.js"
import { Terminal } from "../../../src/cli/output/Terminal.js"

const decodeEntry = Schema.decodeSync(
  Schema.parseJson(
    Schema.Struct({
      logLevel: Schema.String,
      message: Schema.String,
      annotations: Schema.Record({ key: Schema.String, value: Schema.Unknown })
    })
  )
)

/** What a failure's report writes to stderr: lines of the terminal, and of the log. */
const written = (logFormat: "text" | "json", failure: Parameters<typeof FailureReport.write>[1]) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logged: Array<string> = []
    const terminal = Terminal.of({
      out: () => Effect.void,
      err: (line) => Effect.sync(() => void lines.push(line)),
      paint: (_, text) => text,
      width: Infinity,
      interactive: false,
      live: () => Effect.void
    })
    const console = yield* Console.consoleWith(Effect.succeed)
    yield* Logging.configured({ json: false, logFormat }, FailureReport.write(false, failure)).pipe(
      Effect.provideService(Terminal, terminal),
      Console.withConsole({
        ...console,
        unsafe: { ...console.unsafe, error: (...words: ReadonlyArray<string>) => void logged.push(words.join(" ")) }
      })
    )
    return { lines, logged }
  })

describe("the report of a failure", () => {
  it.effect("is one entry of the log with the failure's tag and its seed, where stderr is a log", () =>
    Effect.gen(function* () {
      const failure = { _tag: "SeedFailed", id: "1", message: 'seed "1" failed: no' }
      const { lines, logged } = yield* written("json", failure)
      assert.deepStrictEqual(lines, [])
      assert.deepStrictEqual(
        logged.map((entry) => decodeEntry(entry)),
        [
          {
            logLevel: "ERROR",
            message: `seed "1" failed: no\nMend the seed, then run es-ops seed:apply again; what was applied before it stays applied.`,
            annotations: { _tag: "SeedFailed", seed: "1" }
          }
        ]
      )
    })
  )

  it.effect("has no seed in its entry of the log, where the failure names none", () =>
    Effect.gen(function* () {
      const failure = { _tag: "Interrupted", id: Option.none(), message: "interrupted: nothing was changed" }
      const { logged } = yield* written("json", failure)
      assert.deepStrictEqual(
        logged.map((entry) => decodeEntry(entry).annotations),
        [{ _tag: "Interrupted" }]
      )
    })
  )

  it.effect("is lines without tag and seed, where stderr is text", () =>
    Effect.gen(function* () {
      const { lines, logged } = yield* written("text", { _tag: "UsageError", id: "1", message: "no such seed" })
      assert.deepStrictEqual([lines, logged], [["error: no such seed\nSee es-ops --help."], []])
    })
  )
})
