/**
 * The reference's seed files, as they are: plain objects in every extension, and handler names that are found before the first write.
 */
import { assert, describe, it } from "@effect/vitest"
import { database, decodeApply, project } from "../support/Command.js"

const typed = `
interface Context {
  systemWriteAs(handler: string, payload: unknown, tenantIdOverride?: string, extraRoles?: readonly string[]): Promise<{ isSuccess: true; data: { id: string } }>
  findUserByEmail(email: string): Promise<{ id: string; email: string; tenantId: string } | null>
  findMembershipsOfUser(userId: string): Promise<ReadonlyArray<{ userId: string; tenantId: string; streamTenantId: string; roles: string[] }>>
  findTenants(): Promise<ReadonlyArray<{ id: string; name: string; tenantKey: string }>>
}
`

describe("the reference's files", () => {
  it("run unchanged: plain objects of every extension, in order, with what each form allows", async () => {
    const { env, query } = await database()
    const made = await project({
      "seeds/1-typescript.ts": `${typed}
export default {
  description: "tenants, a user and a membership",
  run: async (ctx: Context): Promise<void> => {
    const tenant = await ctx.systemWriteAs("tenant:write:create", { key: "acme", name: "Acme" })
    if (!tenant.isSuccess) throw new Error("never")
    if ((await ctx.findUserByEmail("admin@example.com")) !== null) return
    const user = await ctx.systemWriteAs("user:write:create", { email: "admin@example.com", tenantId: tenant.data.id })
    await ctx.systemWriteAs("tenant:write:add-member", { userId: user.data.id, tenantId: tenant.data.id, roles: ["Member"] }, tenant.data.id, ["SystemAdmin"])
  }
}`,
      "seeds/2-typescript.mts": `${typed}
const seed = {
  description: "",
  skippable: true,
  async run(ctx: Context) {
    const user = await ctx.findUserByEmail("admin@example.com")
    for (const { roles, streamTenantId, tenantId, userId } of await ctx.findMembershipsOfUser(user!.id)) {
      await ctx.systemWriteAs("tenant:write:update-member-roles", { userId, tenantId, roles: [...roles, "Admin"] }, streamTenantId)
    }
  }
}
export default seed`,
      "seeds/3-javascript.js": `export default {
  description: "soft handling",
  run: async (ctx) => {
    try {
      await ctx.systemWriteAs("tenant:write:create", { key: "acme", name: "again" })
    } catch (error) {
      if (!(error instanceof Error) || error.code !== "conflict" || !error.message.includes("tenant:write:create")) throw error
    }
    const rows = await ctx.db.query("SELECT roles FROM read_tenant_memberships WHERE roles LIKE $1", ["%Admin%"])
    await ctx.systemWriteAs("tenant:write:create", { key: "rows-" + rows.length, name: (await ctx.findTenants())[0].tenantKey })
  }
}`,
      "seeds/4-synchronous.mjs": `export default { description: "synchronous", run() { this.ran = this.description } }`
    })
    const { code, stderr, stdout } = await made.run(["seed:apply", "--json"], env)
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      decodeApply(stdout).applied.map(({ events, id }) => [id, events]),
      [
        ["1-typescript", 3],
        ["2-typescript", 1],
        ["3-javascript", 1],
        ["4-synchronous", 0]
      ]
    )
    assert.deepStrictEqual(await query("SELECT roles FROM read_tenant_memberships"), [{ roles: '["Member","Admin"]' }])
    assert.deepStrictEqual(await query("SELECT key, name FROM read_tenants ORDER BY key"), [
      { key: "acme", name: "Acme" },
      { key: "rows-1", name: "acme" }
    ])
    assert.deepStrictEqual(await query("SELECT id, notes FROM kumiko_es_operations ORDER BY id"), [
      { id: "1-typescript", notes: "tenants, a user and a membership" },
      { id: "2-typescript", notes: "" },
      { id: "3-javascript", notes: "soft handling" },
      { id: "4-synchronous", notes: "synchronous" }
    ])
  })

  it("have their flags, and a project that is not of type module", async () => {
    const { env } = await database()
    const made = await project({
      "seeds/1.js": `exports.default = { description: "CommonJS", skippable: true, run: async (ctx) => ctx.findTenants() }`,
      "seeds/2.js": `module.exports = { description: "CommonJS", run: async () => {} }`,
      "seeds/3.ts": `const description: string = "compiled to CommonJS"\nexport default { description, run: async () => {} }`
    })
    await made.write("package.json", JSON.stringify({ name: "commonjs" }))
    const skipped = await made.runProcess(["seed:apply", "--json"], { ...env, KUMIKO_SKIP_ES_OPS_1: "1" })
    assert.strictEqual(skipped.code, 0, skipped.stderr)
    const document = decodeApply(skipped.stdout)
    assert.deepStrictEqual(document.skipped, [{ id: "1", flag: "KUMIKO_SKIP_ES_OPS_1" }])
    assert.deepStrictEqual(
      document.applied.map(({ id }) => id),
      ["2", "3"]
    )
  })

  it("are checked for handler names that are literals, wherever they are called, and nowhere else", async () => {
    const calls = (body: string) => `export default {
  description: "",
  run: async (ctx) => {
    ${body}
  }
}
`
    const made = await project({
      "seeds/1-comments.mjs": calls(`// ctx.systemWriteAs("a:write:comment", {})
    /* await ctx.systemWriteAs("a:write:comment", {}) */
    const text = 'ctx.systemWriteAs("a:write:string", {})'
    const template = \`ctx.systemWriteAs("a:write:template", {})\`
    const name = "a:write:variable"
    await ctx.systemWriteAs(name, { text, template })
    await ctx.other("a:write:other", {})
    await ctx.systemWriteAs(\`a:write:\${name}\`, {})
    await ctx.systemWriteAs("tenant:write:create", {})`),
      "seeds/2-dead.mjs": `const never = async (ctx) => {
  if (false) await ctx.systemWriteAs("a:write:dead", {})
  const { systemWriteAs } = ctx
  await systemWriteAs("a:write:bare", {})
  await ctx?.systemWriteAs?.("a:write:optional", {})
  await ctx["systemWriteAs"]("a:write:computed", {})
  await ctx.systemWriteAs(\`a:write:plain-template\`, {})
}
export default { description: "", run: async () => never }`,
      "seeds/3-typed.ts": calls(`await ctx.systemWriteAs("a:write:asserted" as const, {})
    await (ctx as any).systemWriteAs(("a:write:parenthesised"), {})
    await ctx.systemWriteAs!("a:write:non-null", {})`).replace("(ctx)", "(ctx: any)")
    })
    const { code, stdout } = await made.run(["seed:check"])
    assert.strictEqual(code, 4)
    const found = [...stdout.matchAll(/(\d-\w+\.m?ts|\d-\w+\.mjs), line (\d+): no write handler is named "(.*?)"/g)]
    assert.deepStrictEqual(
      found.map(([, file, line, name]) => [file, Number(line), name]),
      [
        ["2-dead.mjs", 2, "a:write:dead"],
        ["2-dead.mjs", 4, "a:write:bare"],
        ["2-dead.mjs", 5, "a:write:optional"],
        ["2-dead.mjs", 6, "a:write:computed"],
        ["2-dead.mjs", 7, "a:write:plain-template"],
        ["3-typed.ts", 4, "a:write:asserted"],
        ["3-typed.ts", 5, "a:write:parenthesised"],
        ["3-typed.ts", 6, "a:write:non-null"]
      ]
    )
  })
})
