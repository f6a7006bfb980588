/**
 * The event tables of a database that rebuilds are tried on.
 */
import { Effect } from "effect"
import { EsOps } from "effect-es-ops"
import { Client } from "pg"

/** Creates them, as an administrator would. */
export const create = async (url: string): Promise<void> => {
  const statements = await Effect.runPromise(EsOps.ddl({ seeds: {}, features: [] }))
  const client = new Client({ connectionString: url })
  await client.connect()
  for (const statement of statements) await client.query(statement)
  await client.end()
}
