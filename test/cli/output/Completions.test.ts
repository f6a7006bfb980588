/**
 * Completions, asked of the shells themselves where they are installed.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { promisify } from "node:util"
import { project } from "../../support/Command.js"

const run = promisify(execFile)

const installed = (name: string) =>
  ["/bin", "/usr/bin", "/usr/local/bin"].some((folder) => existsSync(`${folder}/${name}`))

/** The script of a shell, as the command prints it. */
const script = async (shell: string): Promise<string> => {
  const { run: command } = await project()
  const { code, stderr, stdout } = await command(["--completions", shell])
  assert.deepStrictEqual([code, stderr], [0, ""])
  assert.notInclude(stdout, "\u001B")
  return stdout
}

describe("completions", () => {
  it.skipIf(!installed("bash"))("in bash: commands with their colons, options, words and folders", async () => {
    const asked = [
      "es-ops ",
      "es-ops seed:a",
      "es-ops seed:",
      "es-ops seed:apply --l",
      "es-ops seed:apply --late ",
      "es-ops seed:mark --reason "
    ]
    const ask = asked.map(
      (line) =>
        `COMP_LINE=${JSON.stringify(line)}; COMP_POINT=\${#COMP_LINE}; COMPREPLY=(); _es_ops; echo "\${COMPREPLY[*]}"`
    )
    const { stdout } = await run("bash", ["--norc", "-c", [await script("bash"), ...ask].join("\n")])
    assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
      "seed:new seed:check seed:status seed:apply seed:mark seed:unmark seed:rename projection:status projection:rebuild projection:diff snapshot:verify snapshot:rebuild stream:move stream:archive stream:restore stream:purge event:replay event:backfill runs runs:cancel history schema doctor --help --version",
      "apply",
      "new check status apply mark unmark rename",
      "--lock-timeout --late --log-format",
      "run fail"
    ])
    assert.strictEqual(await script("sh"), await script("bash"))
  })

  it.skipIf(!installed("fish"))("in fish (skipped where it is not installed)", async () => {
    const ask = (line: string) => `complete -C ${JSON.stringify(line)} | string split -f1 \\t | string join " "`
    const lines = ["es-ops seed:", "es-ops seed:apply --l", "es-ops seed:apply --late "]
    const { stdout } = await run("fish", ["--no-config", "-c", [await script("fish"), ...lines.map(ask)].join("\n")])
    assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
      "seed:apply seed:check seed:mark seed:new seed:status seed:unmark",
      "--late --lock-timeout --log-format",
      "fail run"
    ])
  })

  it.skipIf(!installed("zsh"))("in zsh (skipped where it is not installed)", async () => {
    // What the completion system would be given, by stand-ins for its functions.
    const stand = `compdef() { : }; _describe() { print -r -- "commands: \${(P)2}" }; _arguments() { print -r -- "arguments: $*" }`
    const ask = (words: ReadonlyArray<string>) =>
      `words=(${words.map((word) => `'${word}'`).join(" ")}); CURRENT=\${#words}; _es_ops`
    const { stdout } = await run("zsh", [
      "-f",
      "-c",
      [stand, await script("zsh"), ask(["es-ops", "seed:"]), ask(["es-ops", "seed:apply", "--l"])].join("\n")
    ])
    const [commands = "", options = ""] = stdout.split("\n")
    assert.include(commands, "seed\\:apply:Applies the pending seeds")
    assert.include(options, "--late[")
    assert.include(options, ":word:(run fail)")
    assert.include(options, ":folder:_files -/")
  })
})
