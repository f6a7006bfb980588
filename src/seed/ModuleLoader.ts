/**
 * Modules by their paths, TypeScript included.
 */
import { pathToFileURL } from "node:url"

/** Imports the module at `path`; another `version` is imported anew, where the module cache would give the old one. */
export const load = async (path: string, version: string): Promise<unknown> => {
  if (/\.m?ts$/.test(path)) await readTypeScript()
  const url = pathToFileURL(path)
  url.searchParams.set("es-ops", version)
  return import(/* @vite-ignore */ url.href)
}

let reading: Promise<void> | undefined

/** Node reads TypeScript from 22.18 on, and test runners bring a loader of their own; otherwise tsx does, registered once. */
const readTypeScript = (): Promise<void> =>
  (reading ??=
    "__vitest_worker__" in globalThis || Reflect.get(process.features, "typescript")
      ? Promise.resolve()
      : import("tsx/esm/api").then(({ register }) => {
          register()
        }))
