/**
 * The built command on databases of its own: projects and databases that are removed after the last test of a file.
 */
import { Schema } from "effect"
import { ProjectionDocument, RunDocument, SeedDocument } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { Client } from "pg"
import { inject } from "vitest"
import * as FileEnd from "./FileEnd.js"
import type { Project } from "./Project.js"
import * as Projects from "./Project.js"
import * as Database from "./TestDatabase.js"

/** A project that is removed when its file is over. */
const removed = (made: Project): Project => {
  FileEnd.add(made.remove)
  return made
}

/** A project with these files. */
export const project = async (files: Readonly<Record<string, string>> = {}, name?: string): Promise<Project> => {
  return removed(await Projects.make(files, name))
}

/** The same with the command in few files: for what is about many processes, and not about how they are loaded. */
export const bundled = async (files: Readonly<Record<string, string>> = {}): Promise<Project> => {
  return removed(await Projects.make(files, "project", inject("bundle")))
}

/** A connection to the server, or to the database of `url`. */
export const admin = async <A>(use: (client: Client) => Promise<A>, url = Database.url("postgres")): Promise<A> => {
  const client = new Client({ connectionString: url })
  // A statement that is under way tells; a session that is ended in between is no news.
  client.on("error", () => undefined)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

/** A fresh database: its environment for the command, and a way to look into it. */
export const database = async () => {
  const name = `cli_${randomUUID().replaceAll("-", "")}`
  await admin((client) => client.query(`CREATE DATABASE ${name} ${inject("postgres").creating}`))
  FileEnd.add(() => admin(async (client) => void (await client.query(`DROP DATABASE ${name} WITH (FORCE)`))))
  const url = Database.url(name)
  return {
    name,
    url,
    env: { DATABASE_URL: url },
    query: (text: string) => admin(async (client) => (await client.query<Record<string, unknown>>(text)).rows, url)
  }
}

/** A seed that creates a tenant. */
export const tenant = (key: string): string =>
  Projects.seedSource(`yield* SeedContext.systemWriteAs("tenant:write:create", { key: "${key}", name: "${key}" })`)

/** A seed that does not end by itself; it says "inside" when it is under way. */
export const endless =
  Projects.seedSource(`yield* SeedContext.systemWriteAs("tenant:write:create", { key: "k", name: "n" })
    yield* Effect.log("inside")
    yield* Effect.never`)

/** The documents, which have no key that the schemas do not name. */
const decode = <A, I>(schema: Schema.Schema<A, I>) =>
  Schema.decodeUnknownSync(Schema.parseJson(schema), { onExcessProperty: "error" })

export const decodeApply = decode(SeedDocument.ApplyDocument)
export const decodeStatus = decode(SeedDocument.StatusDocument)
export const decodeEntry = Schema.decodeUnknownSync(
  Schema.parseJson(Schema.Struct({ logLevel: Schema.String, message: Schema.String }))
)
export const decodeError = decode(SeedDocument.ErrorDocument)
export const decodeHistory = decode(SeedDocument.HistoryDocument)
export const decodeDoctor = decode(SeedDocument.DoctorDocument)
export const decodeChange = decode(SeedDocument.ChangeDocument)
export const decodeProjections = decode(ProjectionDocument.StatusDocument)
export const decodeRebuild = decode(ProjectionDocument.RebuildDocument)
export const decodeDiff = decode(ProjectionDocument.DiffDocument)
export const decodeRuns = decode(RunDocument.RunsDocument)
export const decodeSchema = decode(SeedDocument.SchemaDocument)

/** Asks again until there is an answer: for what another process does in its own time, which it needs the processor for. */
export const untilTrue = async (ask: () => Promise<ReadonlyArray<unknown>>): Promise<void> => {
  for (let found = await ask(); found.length === 0; found = await ask()) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
