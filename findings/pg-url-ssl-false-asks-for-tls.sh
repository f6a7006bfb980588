#!/usr/bin/env bash
# One would expect `?ssl=false` in a database's URL to turn encryption off in pg, as `?ssl=true` turns it on and `?ssl=0` turns it off.
# The value stays a text, which is true to JavaScript: the driver asks for TLS, and a server without it fails the connection with "The server does
# not support SSL connections". So does any other word, as `sslmode=banana` does too, while libpq refuses an unknown sslmode.
# Seen in pg 8.23.1 with pg-connection-string 2.9.1 on Node 20, on 2026-11-29.
# It matters to who writes a URL for a server in a container or on a socket's host: what was meant to turn encryption off turns it on, and the error
# sends its reader to the server. This library refuses such values with the list of those that there are.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund pg@8.23.1 pg-connection-string@2.9.1
cat > look.mjs <<'LOOK'
import { once } from "node:events"
import { createServer } from "node:net"
import pg from "pg"

/** The code of an SSLRequest (PostgreSQL manual, 54.7); that of a plain start is the version of the protocol. */
const sslRequest = 80877103
let asked
const server = createServer((socket) => socket.once("data", (bytes) => (asked(bytes.readInt32BE(4) === sslRequest), socket.end("N"))))
server.listen(0, "127.0.0.1")
await once(server, "listening")

const asksForTls = async (query) => {
  const first = new Promise((resolve) => (asked = resolve))
  const client = new pg.Client(`postgres://u:p@127.0.0.1:${server.address().port}/db${query}`)
  client.on("error", () => undefined)
  client.connect().catch(() => undefined)
  return await first
}

const seen = {}
for (const query of ["", "?ssl=0", "?sslmode=disable", "?ssl=true", "?ssl=false", "?ssl=off"]) seen[query] = await asksForTls(query)
for (const [query, tls] of Object.entries(seen)) console.log(`${query || "(nothing)"}: ${tls ? "asks for TLS" : "plain"}`)
process.exit(Object.values(seen).join() === "false,false,false,true,true,true" ? 0 : 1)
LOOK
node look.mjs
