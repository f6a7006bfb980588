/**
 * An embedded database that is created already: creating one takes longer than all that most tests ask of it.
 */
import { cp, mkdir, mkdtemp, rename, rm } from "node:fs/promises"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { createRequire } from "node:module"
import type { Project } from "./Project.js"
import * as Projects from "./Project.js"

const { version }: { readonly version: string } = JSON.parse(
  readFileSync(
    join(dirname(createRequire(import.meta.url).resolve("@electric-sql/pglite")), "..", "package.json"),
    "utf8"
  )
)

/** Kept from one run of the tests to the next, for each version of the server. */
const kept = join(Projects.repository, "node_modules", ".cache", `es-ops-embedded-${version}`)

/** Creates the one that is copied, unless it is there: whole when it gets its name, whoever else creates it at the moment. */
const create = async (): Promise<void> => {
  await mkdir(dirname(kept), { recursive: true })
  const folder = await mkdtemp(`${kept}-`)
  const project = await Projects.make()
  try {
    const { code, stderr } = await project.run(["seed:status", "--embedded-dir", join(folder, "new")])
    if (code !== 0) throw new Error(stderr)
    await rename(join(folder, "new"), kept).catch((error: unknown) => {
      if (!existsSync(kept)) throw error
    })
  } finally {
    await project.remove()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Gives the project an embedded database without tables, where `--embedded` looks for it. */
export const prepare = async ({ folder }: Project): Promise<void> => {
  if (!existsSync(kept)) await create()
  await cp(kept, join(folder, ".es-ops"), { recursive: true })
}
