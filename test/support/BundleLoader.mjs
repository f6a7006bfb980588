/**
 * Loads the script of a bundle. What V8 compiled of it is kept beside it, so that a process has to run it only: Node itself keeps it from its
 * version 22 on.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import process from "node:process"
import { pathToFileURL } from "node:url"
import { setFlagsFromString } from "node:v8"
import vm from "node:vm"

// What a test asks of an embedded database is over before it would be worth it to compile its WebAssembly a second time, for speed.
setFlagsFromString("--liftoff-only")

/** What is kept, if it is there. */
const kept = (path) => {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

const make = (folder) => {
  const filename = join(folder, "script.cjs")
  const cache = join(folder, "script.cache")
  // The compiler of the bundle writes nothing but ASCII.
  const source = readFileSync(filename, "latin1")
  const names = "module, exports, require, importModule, __filename, __dirname, moduleUrl"
  const script = new vm.Script(`(function (${names}) {${source}\n})`, { filename, cachedData: kept(cache) })
  const module = { exports: {} }
  const url = pathToFileURL(filename).href
  const importModule = (name) => import(name)
  script.runInThisContext()(
    module,
    module.exports,
    createRequire(filename),
    importModule,
    filename,
    dirname(filename),
    url
  )
  // With what the process compiled until its end: as much as the next one needs.
  if (process.env["ES_OPS_KEEP_COMPILED"] === "1")
    process.once("exit", () => writeFileSync(cache, script.createCachedData()))
  return module.exports
}

const loaded = new Map()

/** The modules of the bundle in this folder by their names, each of which is run when it is asked for. */
export const load = (folder) => {
  const modules = loaded.get(folder) ?? make(folder)
  loaded.set(folder, modules)
  return modules
}
