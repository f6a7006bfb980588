#!/usr/bin/env bash
# One would expect a driver that speaks its protocol over a socket to load sockets and TLS, and nothing that speaks HTTP.
# On Node 20 requiring pg loads Node's own fetch, undici, as a whole: to find out whether it runs on Cloudflare, pg makes a `Response`, which is a
# global that Node loads when it is first looked at. From Node 21 on there is `navigator`, which answers that question before. A program that has no
# `navigator` pays for it at each start.
# Seen in pg 8.23.1 on Node 20.20.2, and not on Node 24, on 2026-11-30.
# It matters to who starts short programs on Node 20, such as commands of migration tools and pipelines: it is more than half of the time that loading
# the driver takes (40 of 71 ms), and shows in a profile as undici, which then is looked for in other libraries. It was one part in
# fifteen of `es-ops seed:status` before its bundle had a `navigator`; on Node 22 and later it is gone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true }' > package.json
npm install --silent --no-audit --no-fund pg@8.23.1 node20@npm:node@20.20.2 node24@npm:node@24.11.0
cat > look.js <<'LOOK'
const hasFetch = () => process.moduleLoadList.includes("NativeModule internal/deps/undici/undici")
const before = hasFetch()
const began = performance.now()
require("pg")
const took = performance.now() - began
console.log(JSON.stringify({ node: process.version, before, after: hasFetch(), took: Math.round(took) }))
LOOK
for name in node20 node24; do
  "node_modules/$name/bin/node" look.js | tee "$name.json"
done
grep -q '"before":false,"after":true' node20.json
grep -q '"before":false,"after":false' node24.json
