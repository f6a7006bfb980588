/**
 * What a person sees in a terminal, and what a pipe gets: asked of the command in a pseudo-terminal (script of util-linux).
 */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { open } from "node:fs/promises"
import { bundled, database, tenant } from "../support/Command.js"
import type { Project } from "../support/Project.js"
import * as Projects from "../support/Project.js"

const isInstalled = ["/usr/bin/script", "/bin/script"].some(existsSync)

/** Runs es-ops in a terminal of so many columns; both streams come as one. */
const inTerminal = async (
  { command, folder }: Project,
  words: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>,
  columns = 80
): Promise<string> => {
  const line = `stty cols ${columns}; exec '${process.execPath}' '${command}' ${words.join(" ")}`
  const running = Projects.watch(
    spawn("script", ["-q", "-e", "-c", line, "/dev/null"], {
      cwd: folder,
      env: { PATH: process.env["PATH"] ?? "", TERM: "xterm", SHELL: "/bin/sh", ...env }
    })
  )
  return (await running.result).stdout
}

const slow = Projects.seedSource(`yield* Effect.sleep("700 millis")
    console.log("halfway")
    yield* Effect.sleep("300 millis")`)

describe.skipIf(!isInstalled)("in a terminal (skipped without script of util-linux)", () => {
  it("a live line shows what runs, gives way to what is printed, and is gone at the end", async () => {
    const { env } = await database()
    const made = await bundled({ "seeds/1-slow.ts": slow })
    const seen = await inTerminal(made, ["seed:apply"], env)
    assert.include(seen, "\r\u001B[K…           1-slow  runs, 0 s")
    assert.include(seen, "\r\u001B[Khalfway\r\n")
    assert.include(seen, "\u001B[32mapplied     \u001B[0m1-slow")
    assert.notInclude(seen.slice(seen.indexOf("applied")), "…")
    const piped = await made.runProcess(["seed:unmark", "1-slow", "--reason", "x"], env)
    assert.notInclude(piped.stdout + piped.stderr, "\u001B")
  })

  it("NO_COLOR takes the colour, and a dumb terminal the live line as well", async () => {
    const { env } = await database()
    const made = await bundled({ "seeds/1-slow.ts": slow })
    const plain = await inTerminal(made, ["seed:apply"], { ...env, NO_COLOR: "1" })
    for (const colour of ["2", "31", "32", "33"]) assert.notInclude(plain, `\u001B[${colour}m`)
    assert.include(plain, "runs, 0 s")
    await made.run(["seed:unmark", "1-slow", "--reason", "x"], env)
    assert.notInclude(await inTerminal(made, ["seed:apply"], { ...env, TERM: "dumb" }), "\u001B")
  })

  it("lines are cut and help is wrapped where the terminal ends", async () => {
    const { env } = await database()
    const long = tenant("one").replace("a seed of a test", "a description that goes on and on, ".repeat(6))
    const made = await bundled({ "seeds/1.ts": long, "seeds/2-a-longer-name-for-a-seed.ts": tenant("two") })
    for (const columns of [80, 200]) {
      for (const words of [["seed:status"], ["seed:apply", "--help"], ["--help"]]) {
        const lines = (await inTerminal(made, words, { ...env, NO_COLOR: "1" }, columns)).split("\r\n")
        const shown = lines.filter((line) => !line.startsWith("database: "))
        assert.deepStrictEqual(
          shown.filter((line) => line.length > columns),
          []
        )
      }
    }
    assert.include(
      (await made.run(["seed:status"], env)).stdout,
      "on and on, a description that goes on and on, a desc"
    )
  })
})

describe.skipIf(!existsSync("/dev/full"))("results that cannot be written (skipped without /dev/full)", () => {
  it("are no success, and are said to be lost", async () => {
    const { env } = await database()
    const made = await bundled({ "seeds/1.mjs": tenant("one") })
    const full = await open("/dev/full", "w")
    for (const words of [["seed:apply", "--json"], ["seed:status"], ["schema"], ["--version"]]) {
      const running = Projects.watch(
        spawn(process.execPath, [made.command, ...words], {
          cwd: made.folder,
          env: { PATH: process.env["PATH"] ?? "", ...env },
          stdio: ["ignore", full.fd, "pipe"]
        })
      )
      const { code, stderr } = await running.result
      assert.strictEqual(code, 1, stderr)
      assert.include(stderr, "error: the results could not be written: ENOSPC")
    }
    await full.close()
  })
})
