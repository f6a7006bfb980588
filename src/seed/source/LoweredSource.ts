/**
 * Source text in which the code that only TypeScript has, enums and parameter properties, is written as tsc writes it (target es2022 and later).
 */
import * as Predicate from "effect/Predicate"

/** A node of the syntax tree. */
interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** A part of the text and what stands there instead. */
interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** Most sources have neither, and their tree need not be walked. With an escape, a constructor can be written in other ways. */
const mayHave = /\\|\b(?:enum|constructor)\b/

/** The text with its enums and parameter properties lowered; the same text where it has none that can be. */
export const lower = (text: string, program: unknown): string => {
  const edits = mayHave.test(text) && isNode(program) ? editsOf(program, text, true) : []
  let lowered = text
  // From the end, so that the places of what comes before stay. Of several at one place the last stands last.
  for (const { end, start, text: instead } of edits.toSorted((a, b) => a.start - b.start).toReversed())
    lowered = lowered.slice(0, start) + instead + lowered.slice(end)
  return lowered
}

const editsOf = (node: Node, text: string, isTop: boolean): ReadonlyArray<Edit> => {
  if (node["declare"] === true) return []
  if (node.type === "TSEnumDeclaration") return enumEdits(node, isTop)
  const own = node.type === "ClassBody" ? classEdits(node, text) : []
  const inside = isTop && (node.type === "Program" || node.type === "ExportNamedDeclaration")
  return [...own, ...partsOf(node).flatMap((part) => editsOf(part, text, inside))]
}

/** The nodes right inside a node. */
const partsOf = (node: Node): ReadonlyArray<Node> => Object.values(node).flatMap((part) => [part].flat().filter(isNode))

const isNode = (value: unknown): value is Node =>
  Predicate.hasProperty(value, "type") &&
  Predicate.isString(value.type) &&
  Predicate.hasProperty(value, "start") &&
  Predicate.isNumber(value.start)

const nodeAt = (node: Node, key: string): Node | undefined => {
  const part = node[key]
  return isNode(part) ? part : undefined
}

const nodesAt = (node: Node | undefined, key: string): ReadonlyArray<Node> => {
  const part = node?.[key]
  return Array.isArray(part) ? part.filter(isNode) : []
}

const nameOf = (node: Node | undefined): string | undefined => {
  const name = node?.type === "Literal" ? node["value"] : node?.["name"]
  return Predicate.isString(name) ? name : undefined
}

type Value = string | number

/** A function that fills an object. What a constant enum leaves depends on the compiler's options: it stays, as does one with computed values. */
const enumEdits = (node: Node, isTop: boolean): ReadonlyArray<Edit> => {
  const name = nameOf(nodeAt(node, "id"))
  const values = new Map<string, Value>()
  if (name === undefined || node["const"] === true) return []
  let next: Value | undefined = 0
  for (const member of nodesAt(nodeAt(node, "body"), "members")) {
    const [key, given] = [nameOf(nodeAt(member, "id")), nodeAt(member, "initializer")]
    const value: Value | undefined = given === undefined ? next : valueOf(given, values)
    if (key === undefined || value === undefined || (Predicate.isNumber(value) && !Number.isFinite(value))) return []
    values.set(key, value)
    next = Predicate.isNumber(value) ? value + 1 : undefined
  }
  const lines = [...values].map(([key, value]) => {
    const [member, written] = [`${name}[${JSON.stringify(key)}]`, JSON.stringify(value)]
    return Predicate.isNumber(value)
      ? `${name}[${member} = ${written}] = ${JSON.stringify(key)};`
      : `${member} = ${written};`
  })
  const filled = `(function (${name}) { ${lines.join(" ")} })(${name} || (${name} = {}));`
  return [{ start: node.start, end: node.end, text: `${isTop ? "var" : "let"} ${name}; ${filled}` }]
}

/** The value of a constant expression over the members before; none for any other. */
const valueOf = (node: Node, known: ReadonlyMap<string, Value>): Value | undefined => {
  const { value } = node
  if (node.type === "Literal") return Predicate.isString(value) || Predicate.isNumber(value) ? value : undefined
  if (node.type === "Identifier") return known.get(nameOf(node) ?? "")
  const [left, right] = ["left", "right"].map((key) => operandOf(nodeAt(node, key), known))
  const argument = operandOf(nodeAt(node, "argument"), known)
  const operator = String(node["operator"])
  if (node.type === "UnaryExpression" && Predicate.isNumber(argument)) return unary[operator]?.(argument)
  if (node.type !== "BinaryExpression" || left === undefined || right === undefined) return undefined
  if (Predicate.isNumber(left) && Predicate.isNumber(right)) return binary[operator]?.(left, right)
  return operator === "+" ? `${left}${right}` : undefined
}

const operandOf = (node: Node | undefined, known: ReadonlyMap<string, Value>): Value | undefined =>
  node === undefined ? undefined : valueOf(node, known)

const unary: { readonly [operator: string]: (n: number) => number } = { "-": (n) => -n, "+": (n) => n, "~": (n) => ~n }

const binary: { readonly [operator: string]: (a: number, b: number) => number } = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  "%": (a, b) => a % b,
  "**": (a, b) => a ** b,
  "<<": (a, b) => a << b,
  ">>": (a, b) => a >> b,
  ">>>": (a, b) => a >>> b,
  "|": (a, b) => a | b,
  "&": (a, b) => a & b,
  "^": (a, b) => a ^ b
}

/** A field for each parameter property, before the others, and its assignment where the constructor's own code begins. */
const classEdits = (body: Node, text: string): ReadonlyArray<Edit> => {
  const made = nodesAt(body, "body").find((member) => member["kind"] === "constructor" && bodyOf(member) !== undefined)
  const block = made === undefined ? undefined : bodyOf(made)
  const value = made === undefined ? undefined : nodeAt(made, "value")
  if (block === undefined || value === undefined) return []
  const properties = nodesAt(value, "params").flatMap((node) => {
    const parameter = node.type === "TSParameterProperty" ? nodeAt(node, "parameter") : undefined
    const name = nameOf(parameter?.type === "AssignmentPattern" ? nodeAt(parameter, "left") : parameter)
    return parameter === undefined || name === undefined ? [] : [{ name, start: node.start, end: parameter.start }]
  })
  if (properties.length === 0) return []
  const superCall = nodesAt(block, "body").find((statement) => /^super\s*\(/.test(text.slice(statement.start)))
  const begins = superCall?.end ?? block.start + 1
  const at = (start: number, instead: string): Edit => ({ start, end: start, text: instead })
  return [
    at(body.start + 1, properties.map(({ name }) => ` ${name};`).join("")),
    ...properties.map(({ end, start }) => ({ start, end, text: "" })),
    at(begins, properties.map(({ name }) => `; this.${name} = ${name};`).join(""))
  ]
}

const bodyOf = (member: Node): Node | undefined => {
  const value = nodeAt(member, "value")
  return value === undefined ? undefined : nodeAt(value, "body")
}
