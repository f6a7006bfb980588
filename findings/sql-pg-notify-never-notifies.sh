#!/usr/bin/env bash
# One would expect `PgClient.notify(channel, payload)` to send a notification.
# It sends `NOTIFY channel, $1`, and NOTIFY takes a literal only (PostgreSQL manual, NOTIFY): the server answers with a syntax error (42601), whatever
# channel and payload are.
# Seen in @effect/sql-pg 0.53.0 with effect 3.22.4, pg 8.23.1 and PostgreSQL 18.4, on 2026-11-29.
# It matters to who wakes other replicas after an append: `pg_notify` as a function takes parameters, and joins the transaction of the append, which
# `PgClient.notify`, over a connection of its own, would not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund @effect/sql-pg@0.53.0 @effect/sql@0.52.1 effect@3.22.4 @effect/platform@0.97.2 \
  @effect/experimental@0.61.1 pg@8.23.1 embedded-postgres@18.4.0-beta.17
cat > run.mjs <<'RUN'
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
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
const client = PgClient.layer({ url: Redacted.make(`postgres://postgres:p@127.0.0.1:${port}/postgres`) })
const answer = (sent) => Effect.either(sent).pipe(
  Effect.map((sent) => (sent._tag === "Left" ? `${sent.left.cause.code}: ${sent.left.cause.message}` : "sent"))
)
const seen = await Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  return [yield* answer(sql.notify("events", "42")), yield* answer(sql`SELECT pg_notify('events', ${"42"})`)]
}).pipe(Effect.provide(client), Effect.runPromise)
console.log(`notify: ${seen[0]}\npg_notify: ${seen[1]}`)
await server.stop()
process.exit(seen[0].startsWith("42601") && seen[1] === "sent" ? 0 : 1)
RUN
# A server does not run as root.
if [ "$(id -u)" = 0 ]; then
  chown -R 65534:65534 .
  setpriv --reuid=65534 --regid=65534 --clear-groups node run.mjs
else
  node run.mjs
fi
