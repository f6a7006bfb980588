/**
 * What all suites share, made before the first test and gone after the last: one PostgreSQL 18, and the command as one script.
 */
import { Client } from "pg"
import type { TestProject } from "vitest/node"
import * as Bundle from "./Bundle.js"
import * as TestServer from "./TestServer.js"

declare module "vitest" {
  interface ProvidedContext {
    readonly postgres: TestServer.Address
    /** The folder of the command as one script. */
    readonly bundle: string
  }
}

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const [server, bundle] = await Promise.all([TestServer.start(), Bundle.make()])
  await inDatabase(server.address, (url) => Bundle.compile(bundle, url))
  project.provide("postgres", server.address)
  project.provide("bundle", bundle.folder)
  return async () => {
    await server.stop()
    await bundle.remove()
  }
}

/** With a database of its own. */
const inDatabase = async (
  { creating, host, password, port, user }: TestServer.Address,
  use: (url: string) => Promise<void>
): Promise<void> => {
  const urlOf = (name: string) => `postgres://${user}:${password}@${host}:${port}/${name}`
  const admin = new Client({ connectionString: urlOf("postgres") })
  await admin.connect()
  await admin.query(`CREATE DATABASE bundle ${creating}`)
  await use(urlOf("bundle"))
  await admin.query("DROP DATABASE bundle WITH (FORCE)")
  await admin.end()
}
