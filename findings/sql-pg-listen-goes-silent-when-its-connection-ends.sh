#!/usr/bin/env bash
# One would expect the stream of `PgClient.listen` to fail, or to connect and LISTEN again, when its connection ends: by a failover, a restart of the
# server, `pg_terminate_backend`.
# It does neither: the connection's error is ignored, the stream stays open for ever, and every notification from then on is lost without a word.
# As all listeners of a client share the connection, a second `listen` dies of a defect for as long as the first is open.
# Seen in @effect/sql-pg 0.53.0 with effect 3.22.4, pg 8.23.1 and PostgreSQL 18.4, on 2026-11-29.
# It matters to who wakes consumers of an event store by NOTIFY: after the first failover nothing wakes them any more, and nothing says so. Let
# notifications only shorten a poll that goes on by itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund @effect/sql-pg@0.53.0 @effect/sql@0.52.1 effect@3.22.4 @effect/platform@0.97.2 \
  @effect/experimental@0.61.1 pg@8.23.1 embedded-postgres@18.4.0-beta.17
cat > run.mjs <<'RUN'
import { PgClient } from "@effect/sql-pg"
import { Cause, Effect, Fiber, Option, Redacted, Stream } from "effect"
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
const listeners = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
const seen = await Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  const got = []
  const stream = yield* Effect.fork(Stream.runForEach(sql.listen("events"), (payload) => Effect.sync(() => got.push(payload))))
  yield* Effect.repeat(sql.unsafe(listeners), { until: (found) => found.length === 1 })
  yield* sql`SELECT pg_notify('events', 'before')`
  yield* Effect.repeat(Effect.sync(() => got.length), { until: (length) => length === 1 })
  yield* sql.unsafe(`SELECT pg_terminate_backend(pid, 5000) FROM (${listeners}) AS l`)
  // Time for whoever would connect again.
  yield* Effect.sleep("3 seconds")
  yield* sql`SELECT pg_notify('events', 'after')`
  yield* Effect.sleep("2 seconds")
  const isOpen = Option.isNone(yield* Fiber.poll(stream))
  const again = yield* sql.listen("events").pipe(Stream.runDrain, Effect.timeoutOption("2 seconds"), Effect.exit)
  yield* Fiber.interrupt(stream)
  const reason = again._tag === "Failure" ? Cause.pretty(again.cause).split("\n")[0] : "it listens"
  return { got: got.join(), stream: isOpen ? "open" : "ended", again: reason }
}).pipe(Effect.provide(client), Effect.runPromise)
console.log(`received: ${seen.got}; the stream is ${seen.stream}; a second listen: ${seen.again}`)
await server.stop()
process.exit(seen.got === "before" && seen.stream === "open" && seen.again !== "it listens" ? 0 : 1)
RUN
# A server does not run as root.
if [ "$(id -u)" = 0 ]; then
  chown -R 65534:65534 .
  setpriv --reuid=65534 --regid=65534 --clear-groups node run.mjs
else
  node run.mjs
fi
