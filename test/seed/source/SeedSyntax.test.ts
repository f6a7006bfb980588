/**
 * What of a seed's source can be told without parsing it, against what the parser finds.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck } from "effect"
import * as SeedSyntax from "../../../src/seed/source/SeedSyntax.js"

const known = ["tenant:write:create", "user:write:create"]

const unknownIn = (source: string) =>
  Effect.map(SeedSyntax.read("a.ts", source), ({ handlers }) => handlers.filter(({ name }) => !known.includes(name)))

describe("SeedSyntax.namesOnly", () => {
  const sure = [
    "export default 1",
    `yield* SeedContext.systemWriteAs("tenant:write:create", {})`,
    `await ctx.systemWriteAs ( 'user:write:create' , {})\nctx.systemWriteAll("tenant:write:create", [])`,
    `// systemWriteAs("tenant:write:create")`
  ]
  for (const source of sure)
    it(`needs no parser for ${source}`, () => assert.isTrue(SeedSyntax.namesOnly(source, known)))

  const unsure = [
    `systemWriteAs("tenant:write:destroy", {})`,
    `systemWriteAs("tenant:write:create" + x)`,
    `systemWriteAs(name, {})`,
    `systemWriteAs<A>("tenant:write:create", {})`,
    `(systemWriteAs)("tenant:write:destroy")`,
    `ctx["systemWriteAs"]("tenant:write:destroy")`,
    `ctx["\\x73ystemWriteAs"]("tenant:write:destroy")`,
    `ctx.\\u0073ystemWriteAs("tenant:write:destroy")`,
    `ctx["systemWrit\\eAs"]("tenant:write:destroy")`,
    `systemWriteAs(/* which */ "tenant:write:destroy")`,
    `// systemWriteAs("tenant:write:destroy")`,
    `import { systemWriteAs } from "./own.js"`
  ]
  for (const source of unsure)
    it(`leaves ${source} to the parser`, () => assert.isFalse(SeedSyntax.namesOnly(source, known)))

  const piece = FastCheck.constantFrom(
    ...sure,
    ...unsure,
    ..."systemWriteAs systemWriteAll ctx. ctx[ ] ( ) , ; + /* */ // ` ' \" as any ! {} \\ \\u0073".split(" "),
    "\n",
    `"tenant:write:create"`,
    `'user:write:create'`,
    `"tenant:write:destroy"`,
    "`tenant:write:destroy`"
  )

  it("is never sure of a source in which the parser finds another name", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(FastCheck.array(piece, { maxLength: 12 }), async (pieces) => {
        const source = pieces.join(" ")
        if (SeedSyntax.namesOnly(source, known)) assert.deepStrictEqual(await Effect.runPromise(unknownIn(source)), [])
      }),
      { numRuns: 3_000 }
    ))
})
