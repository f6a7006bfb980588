/**
 * The examples in the comments of `src`, as a stranger copies them: each compiles against the built package.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { project } from "./support/Command.js"
import { repository } from "./support/Project.js"

const run = promisify(execFile)

const src = join(repository, "src")

/** The programs in the comments of a file. */
const examplesOf = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/^ *\/\*\*\n[\s\S]*?^ *\*\/$/gm)].flatMap(([comment]) =>
    [...comment.replaceAll(/^ *\* ?/gm, "").matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, example = ""]) => example)
  )

const examples = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .toSorted()
  .flatMap((path) =>
    examplesOf(readFileSync(join(src, path), "utf8")).map(
      (text, index) => [`${path.replaceAll(/[\\/]/g, "-").replace(/\.ts$/, "")}-${index}.ts`, text] as const
    )
  )

const compilerOptions = {
  module: "nodenext",
  target: "es2022",
  lib: ["es2023", "dom"],
  strict: true,
  noUnusedLocals: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  types: [],
  noEmit: true
}

const compile = async (files: Readonly<Record<string, string>>) => {
  const { folder } = await project({
    ...files,
    "tsconfig.json": JSON.stringify({ compilerOptions, include: ["*.ts"] })
  })
  const tsc = join(repository, "node_modules", "typescript", "bin", "tsc")
  return run(process.execPath, [tsc, "-p", folder], { cwd: folder }).then(
    () => "",
    ({ stdout }: { readonly stdout: string }) => stdout
  )
}

describe("the examples in the comments of src", () => {
  it("compile as a user's files", async () => {
    assert.isAbove(examples.length, 5)
    assert.strictEqual(await compile(Object.fromEntries(examples)), "")
  })

  it("are noticed where one does not compile", async () => {
    const comment =
      '/**\n * A thing.\n *\n * @example\n * ```ts\n * import { Gone } from "effect-es-ops"\n * Gone\n * ```\n */'
    const [wrong = ""] = examplesOf(comment)
    assert.match(await compile({ "wrong.ts": wrong }), /wrong\.ts.*'Gone'/)
  })
})
