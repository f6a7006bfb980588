/**
 * Exports as a source has them, in place. A bundler gives what is exported a name of its own, and exports it at the end:
 * `var seed_default = …; export { seed_default as default };`.
 */
import * as Predicate from "effect/Predicate"

/** A node of the syntax tree. */
interface Node {
  readonly type: string
  readonly [key: string]: unknown
}

/** The statements of a module, those that are exported at their end with `export` before them. */
export const inPlace = (body: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  const exported = new Map(body.flatMap((node) => specifiersOf(node).flatMap(localOf)))
  if (exported.size === 0) return body
  const moved = new Set<string>()
  const statements = body.map((node) => {
    const names = declaredBy(node)
    const made = isNode(node) && names.length > 0 ? exportedAs(node, names, exported) : undefined
    if (made !== undefined) for (const name of names) moved.add(name)
    return made ?? node
  })
  // What is exported by other names comes last, as a bundler has it.
  const rest = statements
    .flatMap(specifiersOf)
    .filter((one) => localOf(one).every(([name, as]) => !moved.has(name) || exported.get(name) !== as))
    .toSorted((a, b) => (exportedBy(a) < exportedBy(b) ? -1 : 1))
  const others = statements.filter((node) => specifiersOf(node).length === 0)
  return rest.length === 0 ? others : [...others, { type: "ExportNamedDeclaration", specifiers: rest }]
}

const exportedBy = (specifier: Node): string => nameOf(specifier["exported"]) ?? ""

const isNode = (value: unknown): value is Node => Predicate.hasProperty(value, "type") && Predicate.isString(value.type)

const nameOf = (node: unknown): string | undefined => {
  const name = isNode(node) ? (node.type === "Literal" ? node["value"] : node["name"]) : undefined
  return Predicate.isString(name) ? name : undefined
}

/** What `export { … }` names of its own module. */
const specifiersOf = (node: unknown): ReadonlyArray<Node> =>
  isNode(node) &&
  node.type === "ExportNamedDeclaration" &&
  !isNode(node["source"]) &&
  !isNode(node["declaration"]) &&
  node["exportKind"] !== "type" &&
  Array.isArray(node["specifiers"])
    ? node["specifiers"].filter(isNode)
    : []

const localOf = (specifier: Node): ReadonlyArray<readonly [local: string, exported: string]> => {
  const [local, exported] = [nameOf(specifier["local"]), nameOf(specifier["exported"])]
  return local === undefined || exported === undefined || specifier["exportKind"] === "type" ? [] : [[local, exported]]
}

/** The names that a statement declares, where they are plain ones. */
const declaredBy = (node: unknown): ReadonlyArray<string> => {
  if (!isNode(node)) return []
  if (node.type === "FunctionDeclaration" || node.type === "ClassDeclaration") return [nameOf(node["id"]) ?? []].flat()
  if (node.type !== "VariableDeclaration" || !Array.isArray(node["declarations"])) return []
  const names = node["declarations"].map((one: unknown) => (isNode(one) ? nameOf(one["id"]) : undefined))
  return names.every(Predicate.isString) ? names : []
}

/** The names that a bundler makes up for a default that has none. */
const madeUp = /_default\d*$/

/** The statement with its export, where all that it declares is exported by one name, its own or as the default. */
const exportedAs = (node: Node, names: ReadonlyArray<string>, exported: ReadonlyMap<string, string>): unknown => {
  const [name = ""] = names
  if (names.every((one) => exported.get(one) === one)) return { type: "ExportNamedDeclaration", declaration: node }
  if (names.length !== 1 || exported.get(name) !== "default") return undefined
  if (node.type !== "VariableDeclaration")
    return { type: "ExportDefaultDeclaration", declaration: madeUp.test(name) ? { ...node, id: null } : node }
  const [declarator]: ReadonlyArray<unknown> = Array.isArray(node["declarations"]) ? node["declarations"] : []
  return madeUp.test(name) && isNode(declarator) && isNode(declarator["init"])
    ? { type: "ExportDefaultDeclaration", declaration: declarator["init"] }
    : undefined
}
