import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { LongestFirst } from "./support/LongestFirst.js"
import { SlowestTests } from "./support/SlowestTests.js"

const root = fileURLToPath(new URL("..", import.meta.url))

export default defineConfig({
  root,
  resolve: { alias: { "effect-es-ops": fileURLToPath(new URL("../src/index.ts", import.meta.url)) } },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/globalSetup.ts"],
    setupFiles: ["test/support/setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default", new SlowestTests()],
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    // Most of a small file is the loading of effect and of the sources: files that follow each other in a process share that. A quarter of the time
    // a file waits for locks, signals and other processes: three of them keep two cores busy.
    poolOptions: { forks: { maxForks: 3, isolate: false } }
  }
})
