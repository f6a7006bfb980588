/**
 * Modules by their paths, TypeScript included.
 */
import * as Arr from "effect/Array"
import * as Option from "effect/Option"
import { existsSync, readFileSync } from "node:fs"
import * as Module from "node:module"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

/** The paths of modules that were imported. */
const loaded = new Set<string>()
/** Those that are being imported: one of them may be why a process ends before it has an answer. */
const loading = new Set<string>()

/** The paths of modules that are being imported. */
export const underWay = (): ReadonlyArray<string> => [...loading]

/** Imports the module at `path`; another `version` is imported anew, where the module cache would give the old one. */
export const load = async (path: string, version: string): Promise<unknown> => {
  loaded.add(path)
  loading.add(path)
  try {
    if (/\.m?ts$/.test(path) && !readsTypeScript) await useTsx(dirname(path))
    return await imported(path, version)
  } catch (error) {
    if (readsTypeScript || tsx !== undefined || !mayBeTypeScript(error)) throw error
    await useTsx(dirname(path))
    return await imported(path, `${version}-tsx`)
  } finally {
    loading.delete(path)
  }
}

const imported = (path: string, version: string): Promise<unknown> => {
  const url = pathToFileURL(path)
  url.searchParams.set("es-ops", version)
  return import(/* @vite-ignore */ url.href)
}

/** Whether JavaScript could not be imported because what it imports may be TypeScript, also under the name that it is compiled to. */
const mayBeTypeScript = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  ["ERR_UNKNOWN_FILE_EXTENSION", "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX", "ERR_MODULE_NOT_FOUND"].includes(
    String(error.code)
  )

const pathOf = Option.liftThrowable((url: string) => fileURLToPath(url))

/** The first place in a module loaded here that an error's stack names: path, line and column. */
export const placeOf = ({ stack }: Error): Option.Option<string> =>
  Arr.findFirst(String(stack).split("\n"), (line) => {
    const [, named = "", place = ""] =
      /(?:\(|at )((?:file:\/\/)?\/[^\s()?]+)(?:\?[^\s():]*)?(:\d+:\d+)\)?$/.exec(line) ?? []
    const path = named.startsWith("file:") ? Option.getOrElse(pathOf(named), () => "") : named
    return loaded.has(path) ? Option.some(`${path}${place}`) : Option.none()
  })

/** The line of the module at which loading it failed (1 for the first), where that can be told: by the stack, or by the import that is missing. */
export const failedLine = (path: string, source: string, error: unknown): number | undefined =>
  lineInStack(path, error) ?? lineOfImport(path, source, error)

const lineInStack = (path: string, error: unknown): number | undefined => {
  if (!(error instanceof Error)) return undefined
  const stack = error.stack ?? ""
  const names = [path, pathToFileURL(path).href]
  const found = names.flatMap((name) => {
    const at = stack.indexOf(name)
    const [, line] = at === -1 ? [] : (/^(?:\?[^:\s]*)?:(\d+)/.exec(stack.slice(at + name.length)) ?? [])
    return line === undefined ? [] : [Number(line)]
  })
  return found[0]
}

const lineOfImport = (path: string, source: string, error: unknown): number | undefined => {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "ERR_MODULE_NOT_FOUND") return undefined
  const missing = (line: string) =>
    [...line.matchAll(/(?:from|import|import\()\s*["']([^"']+)["']/g)].some(([, name = ""]) =>
      error.message.includes(`'${name.startsWith(".") ? resolve(dirname(path), name) : name}'`)
    )
  const at = source.split("\n").findIndex(missing)
  return at === -1 ? undefined : at + 1
}

/** Whether the process was started with tsx: by its own command, by `node --import tsx`, or by NODE_OPTIONS. */
const startedWithTsx = [...process.execArgv, ...(process.env["NODE_OPTIONS"] ?? "").split(/[\s"]+/)].some((word) =>
  /(?:^|[\\/=])tsx(?:[\\/]|$)/.test(word)
)

/**
 * Test runners, Bun and tsx bring a loader of their own, which the application's files went through: a second one would give the seeds
 * another copy of what both import. Node's own one, from 22.18 on, is not enough: it takes no `./x.js` for `x.ts`, no enum, no parameter
 * property, no import without extension, no paths of a tsconfig.json, and no module in a package that is CommonJS.
 */
const readsTypeScript = "__vitest_worker__" in globalThis || "bun" in process.versions || startedWithTsx

let tsx: Promise<void> | undefined
let takesAsModules = false

/** Registers tsx, once, and the hook below where a project needs it: every import of the process goes through both. */
const useTsx = async (folder: string): Promise<void> => {
  await (tsx ??= import("tsx/esm/api").then(({ register }) => void register()))
  if (takesAsModules || isModules(folder)) return
  takesAsModules = true
  registerAsModules()
}

const folders = new Map<string, boolean>()

/** Whether the files of this folder are modules without more ado: by the nearest package.json, which is read once. */
const isModules = (folder: string): boolean => {
  const known = folders.get(folder)
  if (known !== undefined) return known
  const file = join(folder, "package.json")
  const answer = existsSync(file)
    ? typeOf(readFileSync(file, "utf8")) === "module"
    : dirname(folder) !== folder && isModules(dirname(folder))
  folders.set(folder, answer)
  return answer
}

const typeOf = (text: string): unknown => {
  try {
    return JSON.parse(text).type
  } catch {
    return undefined
  }
}

/**
 * Registers a hook of Node's loader, before tsx's: TypeScript is modules, whatever the project's package.json says. In a project that is not
 * "type": "module" tsx leaves `.ts` to the loader of CommonJS, for which it is not registered, and which could not import this package.
 */
const registerAsModules = (): void => {
  // Node 26 calls this kind of hook deprecated; the other kind does not come before tsx's, and a user can do nothing about either.
  const before = process.noDeprecation ?? false
  process.noDeprecation = true
  Module.register(`data:text/javascript,${encodeURIComponent(asModules)}`)
  process.noDeprecation = before
}

const asModules = `export const resolve = async (specifier, context, next) => {
  const resolved = await next(specifier, context)
  return /\\.ts(\\?|$)/.test(resolved.url) && !resolved.url.includes("/node_modules/")
    ? { ...resolved, format: "module" }
    : resolved
}`
