/**
 * The hash of a seed's source: of what it does, and not of how it is written. Line endings, layout, comments and TypeScript's types are no part of
 * it, so that a compiled seed has the hash of its source.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { textHashOf } from "./SeedEntry.js"
import * as SeedSyntax from "./SeedSyntax.js"

/** The hash of a source: SHA-256, hexadecimal. One that cannot be parsed has that of its text. */
export const of = (path: string, text: string): Effect.Effect<string> =>
  Effect.map(parsed(path, text), (hash) => Option.getOrElse(hash, () => textHashOf(text)))

/** Whether a source has this hash; an earlier release recorded that of the text. What cannot be told is no difference. */
export const matches = (path: string, text: string, hash: string): Effect.Effect<boolean> =>
  textHashOf(text) === hash
    ? Effect.succeed(true)
    : Effect.map(parsed(path, text), (found) =>
        Option.match(found, { onNone: () => false, onSome: (own) => own === hash })
      )

/** The hash of what was parsed; none for a source with errors. */
const parsed = (path: string, text: string): Effect.Effect<Option.Option<string>> =>
  Effect.map(
    SeedSyntax.programOf(path, text.replaceAll("\r\n", "\n")),
    Option.map((program) => textHashOf(codeOf(program)))
  )

/** A node of the syntax tree. */
interface Node {
  readonly type: string
  readonly [key: string]: unknown
}

const isNode = (value: unknown): value is Node => Predicate.hasProperty(value, "type") && Predicate.isString(value.type)

/** The tree as text: one text for all ways to write the same code. */
const codeOf = (program: unknown): string => {
  const used = new Set<string>()
  visit(program, (node) => {
    if (node.type === "Identifier" && Predicate.isString(node["name"])) used.add(node["name"])
  })
  const code: Array<string> = []
  write(program, used, code)
  return code.join("")
}

/** What TypeScript puts around an expression, and parentheses, which the tree shows anyway. */
const wrappers = new Set([
  "ParenthesizedExpression",
  "TSAsExpression",
  "TSInstantiationExpression",
  "TSNonNullExpression",
  "TSSatisfiesExpression",
  "TSTypeAssertion"
])

/** Those of TypeScript's nodes that are code. */
const code = new Set([
  "TSEnumDeclaration",
  "TSEnumBody",
  "TSEnumMember",
  "TSModuleDeclaration",
  "TSModuleBlock",
  "TSParameterProperty"
])

/** Whether compiling a node leaves nothing of it. */
const isErased = (node: Node): boolean => {
  const { type } = node
  if (type === "EmptyStatement" || node["declare"] === true) return true
  if (node["importKind"] === "type" || node["exportKind"] === "type") return true
  if (type.startsWith("TS")) return !code.has(type) && !wrappers.has(type)
  // An overload of a method, or an abstract one.
  if (type === "MethodDefinition")
    return isNode(node["value"]) && node["value"].type === "TSEmptyBodyFunctionExpression"
  if (type === "ExportDefaultDeclaration") return isNode(node["declaration"]) && isErased(node["declaration"])
  return type === "Identifier" && node["name"] === "this"
}

/** What is no part of the code: places, spelling, and types. */
const left = new Set([
  "abstract",
  "accessibility",
  "declare",
  "definite",
  "end",
  "exportKind",
  "hashbang",
  "implements",
  "importKind",
  "override",
  "range",
  "raw",
  "readonly",
  "returnType",
  "sourceType",
  "start",
  "superTypeArguments",
  "type",
  "typeAnnotation",
  "typeArguments",
  "typeParameters"
])

/** A question mark is code in a chain, and a type elsewhere. */
const chains = new Set(["CallExpression", "ImportExpression", "MemberExpression"])

const bare = (node: Node): Node =>
  wrappers.has(node.type) && isNode(node["expression"]) ? bare(node["expression"]) : node

/** The parts of a node that are code, in the order of their names. */
const partsOf = (node: Node): ReadonlyArray<readonly [string, unknown]> =>
  Object.entries(node)
    .filter(
      ([key, value]) =>
        !left.has(key) && value !== null && value !== false && (key !== "optional" || chains.has(node.type))
    )
    .toSorted(([a], [b]) => (a < b ? -1 : 1))

/** Whether a name is that of a member, and no variable's. */
const isMemberName = (node: Node, key: string): boolean =>
  node["computed"] !== true &&
  ((node.type === "MemberExpression" && key === "property") ||
    (key === "key" && node["shorthand"] !== true) ||
    key === "label")

/** Calls `see` with each node of the code that may be a use of a variable. */
const visit = (value: unknown, see: (node: Node) => void): void => {
  if (Array.isArray(value)) return value.forEach((part) => visit(part, see))
  if (!isNode(value)) return
  const node = bare(value)
  if (isErased(node) || node.type === "ImportDeclaration") return
  see(node)
  for (const [key, part] of partsOf(node)) if (!isMemberName(node, key)) visit(part, see)
}

/** Whether an import or an export brings nothing, as what it named is a type or is used as one. */
const isIdle = (node: Node, used: ReadonlySet<string>): boolean => {
  const { specifiers } = node
  if (!Array.isArray(specifiers) || !isNode(node)) return false
  if (node.type === "ImportDeclaration") return specifiers.length > 0 && specifiers.every((one) => isUnused(one, used))
  return (
    node.type === "ExportNamedDeclaration" &&
    (isNode(node["declaration"])
      ? isErased(node["declaration"])
      : !isNode(node["source"]) && specifiers.every((one) => isNode(one) && isErased(one)))
  )
}

const imports = new Set(["ImportSpecifier", "ImportDefaultSpecifier", "ImportNamespaceSpecifier"])

/** Whether it imports a name that no code uses: the compiler leaves it out. */
const isUnused = (value: unknown, used: ReadonlySet<string>): boolean => {
  if (!isNode(value) || !imports.has(value.type)) return false
  const { local } = value
  return isErased(value) || (isNode(local) && Predicate.isString(local["name"]) && !used.has(local["name"]))
}

const write = (value: unknown, used: ReadonlySet<string>, out: Array<string>): void => {
  if (Array.isArray(value)) {
    out.push("[")
    for (const part of value) {
      if (isNode(part) && (isErased(part) || isIdle(part, used) || isUnused(part, used))) continue
      write(part, used, out)
      out.push(",")
    }
    out.push("]")
  } else if (isNode(value)) writeNode(bare(value), used, out)
  else if (Predicate.isRecord(value)) {
    for (const [key, part] of Object.entries(value)) {
      out.push(key, ":")
      write(part, used, out)
    }
  } else out.push(textOf(value))
}

const writeNode = (node: Node, used: ReadonlySet<string>, out: Array<string>): void => {
  if (node.type === "Literal") return void out.push(literalOf(node))
  out.push("(", node.type)
  for (const [key, part] of partsOf(node)) {
    if (Array.isArray(part) && part.length === 0) continue
    out.push(" ", key, ":")
    if (key === "source" && isNode(part)) out.push(moduleOf(literalOf(part)))
    else write(part, used, out)
  }
  out.push(")")
}

const literalOf = (node: Node): string => {
  if (Predicate.isRecord(node["regex"])) return `/${textOf(node["regex"]["pattern"])}/${textOf(node["regex"]["flags"])}`
  return Predicate.isString(node["bigint"]) ? `${node["bigint"]}n` : textOf(node["value"])
}

/** The compiler may name what the source file becomes. */
const moduleOf = (name: string): string => name.replace(/^("\..*)\.(m?)ts"$/, '$1.$2js"')

const textOf = (value: unknown): string => JSON.stringify(value) ?? "undefined"
