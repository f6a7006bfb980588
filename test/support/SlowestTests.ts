/**
 * A reporter that lists the slowest tests at the end of a run.
 */
import { relative } from "node:path"
import type { Reporter, TestModule } from "vitest/node"

const listed = 10

export class SlowestTests implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    const tests = modules.flatMap((module) =>
      [...module.children.allTests()].map((test) => ({
        took: test.diagnostic()?.duration ?? 0,
        name: `${relative(module.project.config.root, module.moduleId)} > ${test.fullName}`
      }))
    )
    const slowest = tests.toSorted((a, b) => b.took - a.took).slice(0, listed)
    const lines = slowest.map(({ name, took }) => `${(took / 1000).toFixed(1).padStart(7)} s  ${name}`)
    console.log(["", `The ${lines.length} slowest of ${tests.length} tests:`, ...lines].join("\n"))
  }
}
