/**
 * The pages of the documentation, and the blocks of code in them.
 */
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { repository } from "./Project.js"

const run = promisify(execFile)

/** A block of code: its language, and the file that it stands for. */
export interface Block {
  readonly language: string
  readonly name: string
  readonly text: string
}

/** A page by its path in the repository. */
export interface Page {
  readonly path: string
  readonly text: string
  readonly blocks: ReadonlyArray<Block>
}

/** The text of a file of the repository. */
export const read = (path: string): Promise<string> => readFile(join(repository, path), "utf8")

/** Reads a page. */
export const page = async (path: string): Promise<Page> => {
  const text = await read(path)
  const blocks = [...text.matchAll(/^```(\w*) ?(.*)\n([\s\S]*?)^```$/gm)].map(
    ([, language = "", name = "", body = ""]) => ({ language, name, text: body })
  )
  return { path, text, blocks }
}

/** The pages of a folder, those of folders in it included. */
export const pagesIn = async (folder: string): Promise<ReadonlyArray<Page>> => {
  const names = await readdir(join(repository, folder), { recursive: true })
  const paths = names.filter((name) => name.endsWith(".md") && !name.includes("node_modules"))
  return Promise.all(paths.toSorted().map((name) => page(`${folder}/${name.replaceAll("\\", "/")}`)))
}

/** What a page tells its reader to type. */
export const linesOf = ({ blocks }: Page): ReadonlyArray<string> =>
  blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => text.trim().split("\n"))

/** Whether a block is that of a file in the repository, under the file's own path. */
export const isQuote = ({ name }: Block): boolean => /^(?:seeds\/2026-11-2[01]-|examples\/)/.test(name)

/** A folder in the repository, with its modules at hand and of type module, as long as `use` takes. */
export const inFolder = async <A>(
  files: ReadonlyArray<Pick<Block, "name" | "text">>,
  use: (folder: string) => Promise<A>
): Promise<A> => {
  const folder = await mkdtemp(join(repository, "test", "fixtures", "readme-"))
  try {
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }))
    for (const { name, text } of files) {
      await mkdir(dirname(join(folder, name)), { recursive: true })
      await writeFile(join(folder, name), text)
    }
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const tsc = join(repository, "node_modules", "typescript", "bin", "tsc")

/** What the compiler says of the project in this folder: nothing, if it compiles. */
export const compile = async (folder: string): Promise<string> => {
  const { stdout } = await run(process.execPath, [tsc, "-p", folder]).catch((failed: unknown) => {
    throw new Error(JSON.stringify(failed))
  })
  return stdout
}

/** What vitest says of the tests in this folder. */
export const runTests = async (folder: string): Promise<string> => {
  const vitest = join(repository, "node_modules", "vitest", "vitest.mjs")
  const config = join(repository, "test", "fixtures", "vitest.config.js")
  const { stdout } = await run(process.execPath, [vitest, "run", "--config", config, folder], { cwd: repository })
  return stdout
}
