/**
 * What the package needs of others, brought into a project from the repository's own `node_modules`, so that npm has nothing to fetch.
 */
import { existsSync, readFileSync } from "node:fs"
import { copyFile, link, mkdir, readdir } from "node:fs/promises"
import { dirname, join, relative, resolve } from "node:path"
import { repository } from "./Project.js"

const root = resolve(repository)

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

const needed = (folder: string): ReadonlyArray<string> => {
  const manifest: Manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  return Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.peerDependencies })
}

/** The folder of a package as Node finds it from another package's folder: in its own `node_modules`, or further up. */
const find = (name: string, from: string): string | undefined => {
  const folder = join(from, "node_modules", name)
  if (existsSync(folder)) return folder
  return from === root || from === dirname(from) ? undefined : find(name, dirname(from))
}

/** The folders of the packages that the package needs, directly or not, as far as they are installed in the repository. */
const folders = (): ReadonlyArray<string> => {
  const found = new Set<string>()
  const visit = (from: string): void => {
    for (const name of needed(from)) {
      const folder = find(name, from)
      if (folder === undefined || found.has(folder)) continue
      found.add(folder)
      visit(folder)
    }
  }
  visit(root)
  return [...found]
}

const linkFolder = async (from: string, to: string): Promise<void> => {
  await mkdir(to, { recursive: true })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await linkFolder(source, target)
    // A temporary folder on another disk takes no links.
    else if (entry.isFile()) await link(source, target).catch(() => copyFile(source, target))
  }
}

/** Puts the packages into the project. npm, run in it, takes those that fit, and looks elsewhere for those that do not. */
export const dependencies = async (project: string): Promise<void> => {
  for (const folder of folders()) {
    const path = relative(root, folder)
    // A package inside another's folder came with it.
    if (path.lastIndexOf("node_modules") === 0) await linkFolder(folder, join(project, path))
  }
}
