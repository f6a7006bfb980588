#!/usr/bin/env bash
# One would expect the interruption of a statement over PgClient, as `Effect.timeout` does it, to end that statement or nothing.
# It asks `pg_cancel_backend` for the backend's process over the pool, and does not keep the statement's connection until that is answered: where
# the pool is busy the cancellation waits, the statement ends by itself, its connection goes to another fiber, and the cancellation then hits the
# statement of that other fiber, which fails with 57014, "canceling statement due to user request", though nobody interrupted it.
# Seen in @effect/sql-pg 0.53.0 with effect 3.22.4, pg 8.23.1 and PostgreSQL 18.4, on 2026-11-29.
# It matters to who puts timeouts around statements: under load, when they strike, they fail requests of others. A statement on a connection that
# was reserved (`sql.reserve`, `sql.withTransaction`) keeps it until its cancellation is answered.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund @effect/sql-pg@0.53.0 @effect/sql@0.52.1 effect@3.22.4 @effect/platform@0.97.2 \
  @effect/experimental@0.61.1 pg@8.23.1 embedded-postgres@18.4.0-beta.17
cat > run.mjs <<'RUN'
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Effect, Fiber, Redacted } from "effect"
import EmbeddedPostgres from "embedded-postgres"
import { createServer } from "node:net"

const port = await new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address()
    server.close(() => resolve(port))
  })
})
const server = new EmbeddedPostgres({ databaseDir: "./data", port, user: "postgres", password: "p", persistent: false, onLog: () => {} })
await server.initialise()
await server.start()
const client = PgClient.layer({ url: Redacted.make(`postgres://postgres:p@127.0.0.1:${port}/postgres`), maxConnections: 2 })
const seen = await Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const busy = yield* Effect.fork(sql`SELECT pg_sleep(3)`)
  const tooLong = yield* Effect.fork(sql`SELECT pg_sleep(2)`)
  yield* Effect.sleep("500 millis")
  // Both connections are taken: the innocent statement waits for one, and the cancellation behind it.
  const innocent = yield* Effect.fork(Effect.either(sql`SELECT pg_sleep(4)`))
  yield* Effect.sleep("200 millis")
  const leaving = yield* Effect.fork(Fiber.interrupt(tooLong))
  const outcome = yield* Fiber.join(innocent)
  yield* Fiber.joinAll([busy, leaving])
  return outcome._tag === "Left" ? `${outcome.left.cause.code}: ${outcome.left.cause.message}` : "it ran to its end"
}).pipe(Effect.provide(client), Effect.runPromise)
console.log(`the statement that nobody interrupted: ${seen}`)
await server.stop()
process.exit(seen.startsWith("57014") ? 0 : 1)
RUN
# A server does not run as root.
if [ "$(id -u)" = 0 ]; then
  chown -R 65534:65534 .
  setpriv --reuid=65534 --regid=65534 --clear-groups node run.mjs
else
  node run.mjs
fi
