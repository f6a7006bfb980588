/**
 * A copy of the built library in which every function notes that it was entered.
 */
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises"
import { join, relative } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { ArrowFunctionExpression, Function } from "oxc-parser"
import { parseSync, Visitor } from "oxc-parser"

/** One entry of a function. */
export interface Entry {
  readonly file: string
  readonly name: string
}

export interface Instrumented {
  readonly library: typeof import("effect-es-ops")
  /** Notes entries from here on. */
  readonly begin: () => void
  /** Notes no more, and answers with the entries since `begin`. */
  readonly end: () => ReadonlyArray<Entry>
  readonly remove: () => Promise<void>
}

declare global {
  /** What the functions of the copy call; named so that no other program's global is overwritten. */
  var effectEsOpsEntered: ((file: string, name: string) => void) | undefined
}

const built = fileURLToPath(new URL("../../../dist", import.meta.url))
/** Inside the repository, so that the copy's imports find the installed packages. */
const fixtures = fileURLToPath(new URL("../../fixtures", import.meta.url))

/** Copies `dist`, rewrites it and loads it. */
export const load = async (): Promise<Instrumented> => {
  const folder = await mkdtemp(join(fixtures, "trace-"))
  const remove = () => rm(folder, { recursive: true, force: true })
  const { begin, end } = recording()
  try {
    await cp(built, folder, { recursive: true, filter: (path) => path !== join(built, "whole") })
    for (const path of await readdir(folder, { recursive: true })) {
      if (path.endsWith(".js")) await instrument(folder, join(folder, path))
    }
    const library: typeof import("effect-es-ops") = await import(pathToFileURL(join(folder, "index.js")).href)
    return { library, begin, end, remove }
  } catch (error) {
    await remove()
    throw error
  }
}

const recording = (): Pick<Instrumented, "begin" | "end"> => {
  let entries: Array<Entry> | undefined
  globalThis.effectEsOpsEntered = (file, name) => {
    entries?.push({ file, name })
  }
  return {
    begin: () => {
      entries = []
    },
    end: () => {
      const noted = entries ?? []
      entries = undefined
      return noted
    }
  }
}

const instrument = async (folder: string, path: string): Promise<void> => {
  const file = relative(folder, path)
  await writeFile(path, instrumented(file, await readFile(path, "utf8")))
}

/** The source with a call at the start of each function; the lines stay where they were. */
export const instrumented = (file: string, source: string): string => {
  const { errors, program } = parseSync(file, source)
  if (errors[0] !== undefined) throw new Error(`${file}: ${errors[0].message}`)
  const names = new Map<number, string>()
  const insertions: Array<{ readonly at: number; readonly text: string }> = []
  const enter = ({ body, id, start }: Function | ArrowFunctionExpression) => {
    if (body === null) return
    const before = source.slice(0, start).split("\n")
    const place = `${before.length}:${before.at(-1)?.length ?? 0}`
    const name = JSON.stringify(`${id?.name ?? names.get(start) ?? "function"} ${place}`)
    const call = `globalThis.effectEsOpsEntered(${JSON.stringify(file)}, ${name})`
    if (body.type === "BlockStatement") insertions.push({ at: body.start + 1, text: `${call};` })
    else insertions.push({ at: body.start, text: `(${call}, ` }, { at: body.end, text: ")" })
  }
  new Visitor({
    VariableDeclarator: ({ id, init }) => {
      if (init !== null && id.type === "Identifier") names.set(init.start, id.name)
    },
    Property: ({ key, value }) => {
      if (key.type === "Identifier") names.set(value.start, key.name)
    },
    MethodDefinition: ({ key, value }) => {
      if (key.type === "Identifier") names.set(value.start, key.name)
    },
    FunctionDeclaration: enter,
    FunctionExpression: enter,
    ArrowFunctionExpression: enter
  }).visit(program)
  // Text of the same place stays in the order of the visit: an outer function's call comes before an inner one's.
  return insertions
    .map((insertion, order) => ({ ...insertion, order }))
    .toSorted((a, b) => b.at - a.at || b.order - a.order)
    .reduce((text, insertion) => text.slice(0, insertion.at) + insertion.text + text.slice(insertion.at), source)
}
