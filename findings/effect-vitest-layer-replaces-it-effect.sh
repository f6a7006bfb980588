#!/usr/bin/env bash
# One would expect `layer(…)("name", (it) => …)` of @effect/vitest to hand its callback an `it` of its own, and to leave the imported `it` as it is.
# It assigns its methods to the one `it` that there is: every `it.effect` that is registered later, in the same file or, where vitest runs files
# without isolation, in the files after it, runs in that layer, and with `excludeTestServices` without a TestClock.
# Seen in @effect/vitest 0.30.0 with vitest 3.2.4 and effect 3.22.0, on 2026-11-29.
# It matters to who tests seeds and services with a layer for some tests and TestClock for others: a test that waits by TestClock fails with
# "testClock.adjust is not a function", or sees services that its file never provided, depending on the order. `makeMethods(it)` puts it back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund @effect/vitest@0.30.0 vitest@3.2.4 effect@3.22.0
cat > order.test.mjs <<'TEST'
import { describe, it, layer } from "@effect/vitest"
import { Effect, Layer, TestClock } from "effect"

const asks = TestClock.adjust("1 second")
describe("before", () => it.effect("the clock is a TestClock", () => asks))
layer(Layer.empty, { excludeTestServices: true })("a layer", (given) => given.effect("of its own", () => Effect.void))
describe("after", () => it.effect("the clock is a TestClock no more", () => asks))
TEST
npx vitest run --reporter=json --outputFile=out.json > log.txt 2>&1 || true
node -e '
const tests = JSON.parse(fs.readFileSync("out.json", "utf8")).testResults.flatMap(({ assertionResults }) => assertionResults)
for (const { fullName, status, failureMessages } of tests)
  console.log(`${status}: ${fullName}${failureMessages.length > 0 ? `: ${failureMessages[0].split("\n")[0]}` : ""}`)
process.exit(tests.map(({ status }) => status).join() === "passed,passed,failed" ? 0 : 1)
'
