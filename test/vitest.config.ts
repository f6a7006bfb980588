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
    // For what hangs: how long a test takes is the machine's, and no test says it.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    reporters: ["default", new SlowestTests()],
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    // Most of a small file is the loading of effect and of the sources: files that follow each other in a process share that. A quarter of the time
    // a file waits for locks, signals and other processes: three of them keep two cores busy. As few as many, since vitest takes the end of one
    // that is not needed any more for the end of all.
    // What they ask of an embedded database is over before it would be worth it to compile its WebAssembly a second time, for speed.
    poolOptions: { forks: { minForks: 3, maxForks: 3, isolate: false, execArgv: ["--liftoff-only"] } }
  }
})
