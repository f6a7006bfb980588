/**
 * The hash of a seed's source: of what it does, and not of how it is written. Line endings, layout, comments and TypeScript's types are no part of
 * it, so that a compiled seed has the hash of its source.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as ExportForms from "./ExportForms.js"
import { textHashOf } from "./SeedEntry.js"
import * as LoweredSource from "./LoweredSource.js"
import * as SeedSyntax from "./SeedSyntax.js"

/** The hash of a source: SHA-256, hexadecimal. One that cannot be parsed has that of its text. */
export const of = (path: string, text: string): Effect.Effect<string> =>
  Effect.match(SeedSyntax.parse, {
    onFailure: () => textHashOf(text),
    onSuccess: (parse) => Option.getOrElse(parsed(parse, path, text), () => textHashOf(text))
  })

/** Whether a source has a hash. */
export type Comparison = (path: string, text: string, hash: string) => boolean

/**
 * Compares sources with hashes, many at a time. An earlier release recorded that of the text, as is done with what cannot be parsed. Without the
 * parser nothing is known of a source, which is said, and none is taken for another.
 */
export const comparison: Effect.Effect<Comparison> = SeedSyntax.parse.pipe(
  Effect.map(
    (parse): Comparison =>
      (path, text, hash) =>
        Option.contains(parsed(parse, path, text), hash) || textHashOf(text) === hash
  ),
  Effect.catchAll((reason) =>
    Effect.as(
      Effect.logWarning(`which seeds were edited since they were applied is not known: ${reason}`),
      (): boolean => true
    )
  )
)

/** The hash of what was parsed; none for a source with errors. */
const parsed = (parse: SeedSyntax.Parse, path: string, text: string): Option.Option<string> => {
  const source = text.replaceAll("\r\n", "\n")
  return Option.flatMap(parse(path, source), (program) => {
    const lowered = LoweredSource.lower(source, program)
    const read = lowered === source ? Option.some(program) : parse(path, lowered)
    return Option.map(read, (found) => textHashOf(codeOf(found)))
  })
}

/** A node of the syntax tree. */
interface Node {
  readonly type: string
  readonly [key: string]: unknown
}

/** Asked of every part of every tree. */
const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"

/** The tree as text: one text for all ways to write the same code. What it imports comes last, when it is known which names are used. */
const codeOf = (program: unknown): string => {
  const writer = new Writer()
  const body = ExportForms.inPlace(isNode(program) && Array.isArray(program["body"]) ? program["body"] : [])
  const isImport = (node: unknown) => isNode(node) && node.type === "ImportDeclaration"
  writer.write(body.filter((node) => !isImport(node)))
  writer.write(body.filter(isImport))
  return writer.text
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

/** A bundler writes `void 0` for undefined. */
const spelled = (node: Node): Node =>
  node.type === "UnaryExpression" &&
  node["operator"] === "void" &&
  isNode(node["argument"]) &&
  node["argument"]["value"] === 0
    ? { type: "Identifier", name: "undefined" }
    : node

/** The template, whose texts are as they are and not as they are written. */
const unspelled = (node: Node): Node => {
  const quasis = Array.isArray(node["quasis"]) ? node["quasis"].filter(isNode) : []
  const template: Node = { ...node, quasis: quasis.map(cookedOf) }
  return template
}

const cookedOf = (element: Node): Node => {
  const { value } = element
  return Predicate.isRecord(value) ? { ...element, value: { ...value, raw: value["cooked"] } } : element
}

/** The names of the parts that are code, sorted, by the type of a node and how many parts it has: those that have as many are of one shape. */
const parts = new Map<string, Map<number, ReadonlyArray<string>>>()

const partsOf = (node: Node): ReadonlyArray<string> => {
  const keys = Object.keys(node)
  const known = parts.get(node.type)?.get(keys.length)
  if (known !== undefined) return known
  const found = keys.filter((key) => !left.has(key) && (key !== "optional" || chains.has(node.type))).toSorted()
  parts.set(node.type, new Map(parts.get(node.type)).set(keys.length, found))
  return found
}

/** Whether a name is that of a member or a label, and no variable's. */
const isMemberName = (node: Node, key: string): boolean =>
  node["computed"] !== true &&
  ((key === "property" && node.type === "MemberExpression") ||
    (key === "key" && node["shorthand"] !== true) ||
    key === "label")

/** Whether an export brings nothing, as what it names is a type. */
const isIdleExport = (node: Node): boolean => {
  if (node.type !== "ExportNamedDeclaration") return false
  const { declaration, source, specifiers } = node
  if (isNode(declaration)) return isErased(declaration)
  return !isNode(source) && Array.isArray(specifiers) && specifiers.every((one) => isNode(one) && isErased(one))
}

const imports = new Set(["ImportSpecifier", "ImportDefaultSpecifier", "ImportNamespaceSpecifier"])

/** Writes nodes as text, and notes the names that may be variables'. */
class Writer {
  private readonly used = new Set<string>()
  private readonly asSpelled = new WeakSet<Node>()
  private readonly out: Array<string> = []

  get text(): string {
    return this.out.join("")
  }

  write(value: unknown): void {
    if (Array.isArray(value)) {
      this.out.push("[")
      for (const part of value) {
        if (isNode(part) && (isErased(part) || isIdleExport(part) || this.isUnused(part))) continue
        this.write(part)
        this.out.push(",")
      }
      this.out.push("]")
    } else if (isNode(value)) this.writeNode(spelled(bare(value)))
    else if (Predicate.isRecord(value)) {
      for (const [key, part] of Object.entries(value)) {
        this.out.push(key, ":")
        this.write(part)
      }
    } else this.out.push(textOf(value))
  }

  private writeNode(node: Node): void {
    if (node.type === "Literal") return void this.out.push(literalOf(node))
    // Only a tag sees how its text is spelled.
    if (node.type === "TaggedTemplateExpression" && isNode(node["quasi"])) this.asSpelled.add(node["quasi"])
    if (node.type === "TemplateLiteral" && !this.asSpelled.has(node)) {
      const plain = unspelled(node)
      this.asSpelled.add(plain)
      return this.writeNode(plain)
    }
    this.out.push("(", node.type)
    for (const key of partsOf(node)) {
      const part = node[key]
      if (part === null || part === undefined || part === false || (Array.isArray(part) && part.length === 0)) continue
      this.out.push(" ", key, ":")
      if (key === "source" && isNode(part)) this.out.push(moduleOf(literalOf(part)))
      else if (isNode(part) && part.type === "Identifier" && (isMemberName(node, key) || imports.has(node.type)))
        this.out.push(textOf(part["name"]))
      else this.write(part)
    }
    if (node.type === "Identifier" && Predicate.isString(node["name"])) this.used.add(node["name"])
    this.out.push(")")
  }

  /** Whether it imports only names that no code uses: the compiler leaves it out. */
  private isUnused(node: Node): boolean {
    const { local, specifiers } = node
    if (node.type === "ImportDeclaration")
      return (
        Array.isArray(specifiers) &&
        specifiers.length > 0 &&
        specifiers.every((one) => isNode(one) && (isErased(one) || this.isUnused(one)))
      )
    return imports.has(node.type) && isNode(local) && Predicate.isString(local["name"]) && !this.used.has(local["name"])
  }
}

const literalOf = (node: Node): string => {
  if (Predicate.isRecord(node["regex"])) return `/${textOf(node["regex"]["pattern"])}/${textOf(node["regex"]["flags"])}`
  return Predicate.isString(node["bigint"]) ? `${node["bigint"]}n` : textOf(node["value"])
}

/** The compiler may name what the source file becomes. */
const moduleOf = (name: string): string => name.replace(/^("\..*)\.(m?)ts"$/, '$1.$2js"')

const textOf = (value: unknown): string => JSON.stringify(value) ?? "undefined"
