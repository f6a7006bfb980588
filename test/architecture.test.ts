/**
 * The shape of the house: which folder may know which, and what strangers can see.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { Context } from "effect"
import * as Library from "effect-es-ops"
import { readdirSync, readFileSync } from "node:fs"
import { join, posix } from "node:path"
import { parseSync } from "oxc-parser"
import { arrows, circle, importsOf, roomOf, violation } from "./support/Architecture.js"
import { repository } from "./support/Project.js"

const src = join(repository, "src")

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => path.replaceAll("\\", "/"))
  .toSorted()

const imports = files.flatMap((file) => importsOf(file, readFileSync(join(src, file), "utf8")))

describe("the arrows between the folders", () => {
  it("point one way, from every file", () => {
    assert.isAbove(imports.length, 200)
    assert.deepStrictEqual(
      imports.map(violation).filter((found) => found !== undefined),
      []
    )
  })

  it("make no circle, from whichever file one starts", () => {
    assert.isUndefined(circle(files, imports))
  })

  it("know every file", () => {
    assert.deepStrictEqual(
      files.filter((file) => arrows[roomOf(file)] === undefined && !file.includes("/internal/")),
      []
    )
    assert.deepStrictEqual(
      files.filter((file) => posix.basename(file) === "index.ts"),
      ["index.ts"]
    )
  })

  it("know no room that is gone", () => {
    const named = Object.entries(arrows).flatMap(([room, allowed]) => [room, ...allowed])
    assert.deepStrictEqual(
      [...new Set(named)].filter((room) => !files.some((file) => file === room || file.startsWith(`${room}/`))),
      []
    )
  })

  it.each([
    ["operation/Operation.ts", "seed/Seed.ts"],
    ["operation/Operation.ts", "operation/memory/MemoryDatabase.ts"],
    ["operation/memory/MemoryDatabase.ts", "event/Event.ts"],
    ["event/Event.ts", "identity/Directory.ts"],
    ["event/EventStore.ts", "event/memory/MemoryEventStore.ts"],
    ["event/EventStore.ts", "postgres/events/PgEventStore.ts"],
    ["identity/Identity.ts", "seed/Seed.ts"],
    ["identity/Identity.ts", "identity/memory/MemoryDirectory.ts"],
    ["seed/Seed.ts", "postgres/client/PgSql.ts"],
    ["seed/Seed.ts", "identity/Identity.ts"],
    ["seed/Seed.ts", "seed/source/SeedSource.ts"],
    ["seed/source/SeedSource.ts", "seed/plan/SeedPlan.ts"],
    ["seed/plan/SeedPlan.ts", "seed/run/SeedRunner.ts"],
    ["seed/run/SeedRunner.ts", "seed/record/SeedLedger.ts"],
    ["seed/run/SeedRunner.ts", "operation/memory/MemoryDatabase.ts"],
    ["seed/run/SeedRunner.ts", "EsOps.ts"],
    ["EsOps.ts", "cli/process/Program.ts"],
    ["EsOps.ts", "index.ts"],
    ["index.ts", "cli/input/Settings.ts"],
    ["index.ts", "event/memory/MemoryEventStore.ts"],
    ["index.ts", "identity/memory/MemoryDirectory.ts"],
    ["index.ts", "postgres/Postgres.ts"],
    ["bin.ts", "cli/commands/ApplyCommand.ts"],
    ["bin.ts", "cli/Version.ts"],
    ["cli/Version.ts", "cli/output/Terminal.ts"],
    ["cli/input/Settings.ts", "cli/output/Terminal.ts"],
    ["cli/output/Terminal.ts", "cli/input/Settings.ts"],
    ["cli/commands/ApplyCommand.ts", "cli/process/Program.ts"],
    ["cli/commands/ApplyCommand.ts", "postgres/Postgres.ts"],
    ["cli/commands/ApplyCommand.ts", "identity/Directory.ts"],
    ["postgres/client/PgSql.ts", "postgres/transaction/PgTransactor.ts"],
    ["postgres/transaction/StepTransaction.ts", "postgres/lock/PgOperationLock.ts"],
    ["postgres/transaction/StepTransaction.ts", "postgres/log/PgOperationLog.ts"],
    ["postgres/events/PgEventStore.ts", "postgres/directory/PgDirectory.ts"],
    ["postgres/events/PgEventStore.ts", "postgres/transaction/StepTransaction.ts"],
    ["postgres/health/PgDatabaseHealth.ts", "postgres/lock/PgOperationLock.ts"],
    ["postgres/events/PgEventStore.ts", "identity/Directory.ts"],
    ["postgres/lock/PgOperationLock.ts", "postgres/log/LogRow.ts"],
    ["postgres/embedded/Pglite.ts", "postgres/Postgres.ts"],
    ["postgres/client/PgSql.ts", "postgres/Postgres.ts"],
    ["seed/run/SeedRunner.ts", "postgres/internal/Anything.ts"],
    ["seed/Seed.ts", "unknown/Room.ts"],
    ["unknown/Room.ts", "seed/Seed.ts"],
    ["seed/run/SeedRunner.ts", "@effect/sql/SqlClient"],
    ["seed/run/SeedRunner.ts", "@effect/sql-pg/PgClient"],
    ["seed/run/SeedRunner.ts", "@effect/cli/Command"],
    ["postgres/client/PgSql.ts", "@effect/platform-node/NodeContext"],
    ["operation/Attempt.ts", "effect"],
    ["cli/output/Terminal.ts", "@effect/platform"]
  ])("are noticed where one is wrong: %s → %s", (file, from) => {
    assert.isDefined(violation({ file, from }))
  })

  it.each([
    'import { A } from "../seed/Seed.js"',
    'import type { A } from "../seed/Seed.js"',
    'import type {\n  A,\n  B\n} from "../seed/Seed.js"',
    'import * as A from "../seed/Seed.js"',
    'import "../seed/Seed.js"',
    'export * as A from "../seed/Seed.js"',
    'export type { A } from "../seed/Seed.js"',
    'const a = await import("../seed/Seed.js")',
    'export type A = import("../seed/Seed.js").A'
  ])("are read from every form of import: %j", (text) => {
    assert.deepStrictEqual(importsOf("operation/Operation.ts", `/** A file. */\n${text}\n`), [
      { file: "operation/Operation.ts", from: "seed/Seed.ts" }
    ])
  })

  it("are not read from texts and comments", () => {
    const text = [
      '// import { A } from "../seed/Seed.js"',
      ' * import("../seed/Seed.js")',
      'const a = `\n  import { A } from "../seed/Seed.js"`'
    ]
    assert.deepStrictEqual(importsOf("operation/Operation.ts", text.join("\n")), [])
  })

  const planted: ReadonlyArray<ReadonlyArray<string>> = [
    ["operation/Operation.ts", "operation/Operation.ts"],
    ["operation/Operation.ts", "operation/Attempt.ts", "operation/Operation.ts"],
    ["cli/output/Report.ts", "cli/output/Layout.ts", "cli/output/Report.ts"],
    ["cli/commands/A.ts", "cli/commands/B.ts", "cli/commands/C.ts", "cli/commands/A.ts"],
    ["seed/A.ts", "seed/B.ts", "seed/C.ts", "seed/A.ts"]
  ]
  it.each(planted.map((way) => ({ way })))("are noticed where they make a circle: $way", ({ way }) => {
    const links = way.slice(1).map((from, index) => ({ file: way[index] ?? "", from }))
    const found = circle([...new Set([...files, ...way])], [...imports, ...links])
    assert.sameMembers([...new Set(found)], [...new Set(way)])
  })
})

describe("the public surface", () => {
  it("is this, and changes on purpose only", () => {
    const surface = Object.fromEntries(
      Object.entries(Library).map(([name, namespace]) => [name, Object.keys(namespace).toSorted()])
    )
    expect(surface).toMatchSnapshot()
  })

  it("says of everything in it what it is", () => {
    const declared = /^export (?:const|class|interface|type|function) (\w+)/
    const internal = /^(cli|postgres)\/|^bin\.ts$/
    const silent = files
      .filter((file) => !internal.test(file))
      .flatMap((file) => {
        const lines = readFileSync(join(src, file), "utf8").split("\n")
        const told = new Set<string>()
        return lines.flatMap((line, index) => {
          const [, name] = declared.exec(line) ?? []
          if (name === undefined || told.has(name)) return []
          // A type beside the value of its name, and overloads, are told once.
          told.add(name)
          return lines[index - 1]?.endsWith("*/") === true ? [] : [`${file}: ${name}`]
        })
      })
    assert.deepStrictEqual(silent, [])
  })

  it("names its tags after itself", () => {
    const keys = Object.values(Library)
      .flatMap((namespace) => Object.values<unknown>(namespace))
      .flatMap((value) => (Context.isTag(value) ? [value.key] : []))
    assert.isAbove(keys.length, 10)
    assert.deepStrictEqual(
      keys.filter((key) => !key.startsWith("effect-es-ops/")),
      []
    )
    assert.strictEqual(new Set(keys).size, keys.length)
  })
})

describe("package.json", () => {
  const about = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"))

  it("exports each namespace of index.ts under its name, in the same order, and nothing else", () => {
    const index = readFileSync(join(src, "index.ts"), "utf8")
    const namespaces = [...index.matchAll(/^export \* as (\w+) from "\.\/(.+)\.js"$/gm)]
    assert.deepStrictEqual(
      Object.entries(about.exports),
      Object.entries({
        ".": { types: "./dist/index.d.ts", default: "./dist/index.js" },
        ...Object.fromEntries(namespaces.map(([, name, path]) => [`./${name}`, `./dist/${path}.js`])),
        // By itself, as it needs the packages of a cluster.
        "./EsOpsCluster": "./dist/cluster/EsOpsCluster.js",
        "./package.json": "./package.json"
      })
    )
    for (const [, name, path = ""] of namespaces) assert.strictEqual(posix.basename(path), name)
  })

  it("names the files that do something when they are loaded", () => {
    const declares = /^(?:Import|Export|TS|Variable|Function|Class)/
    const doing = files.filter((file) =>
      parseSync(file, readFileSync(join(src, file), "utf8")).program.body.some(({ type }) => !declares.test(type))
    )
    assert.deepStrictEqual(about.sideEffects, [
      ...doing.map((file) => `./dist/${file.replace(/\.ts$/, ".js")}`),
      // The whole program has all of them in it.
      "./dist/whole/Process.js"
    ])
  })
})
