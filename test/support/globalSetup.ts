/**
 * One PostgreSQL 18 for all suites: started before the first test, stopped after the last.
 */
import type { TestProject } from "vitest/node"
import * as TestServer from "./TestServer.js"

declare module "vitest" {
  interface ProvidedContext {
    readonly postgres: TestServer.Address
  }
}

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const server = await TestServer.start()
  project.provide("postgres", server.address)
  return server.stop
}
