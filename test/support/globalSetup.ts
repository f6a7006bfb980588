/**
 * What all suites share, made before the first test and gone after the last: one PostgreSQL 18, and the command in few files.
 */
import type { TestProject } from "vitest/node"
import * as Bundle from "./Bundle.js"
import * as TestServer from "./TestServer.js"

declare module "vitest" {
  interface ProvidedContext {
    readonly postgres: TestServer.Address
    /** The folder of the command in few files. */
    readonly bundle: string
  }
}

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const [server, bundle] = await Promise.all([TestServer.start(), Bundle.make()])
  project.provide("postgres", server.address)
  project.provide("bundle", bundle.folder)
  return async () => {
    await server.stop()
    await bundle.remove()
  }
}
