/**
 * What can be read from a seed's source without running it: whether it parses, and which handlers it names.
 */
import type { Argument, Expression } from "oxc-parser"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { describe } from "../../operation/ErrorDescription.js"

/** A handler name that stands as a literal in a call, with its line (1 for the first). */
export interface HandlerLiteral {
  readonly name: string
  readonly line: number
}

/** A source's syntax errors, with line and column, and its handler names. */
export interface Syntax {
  readonly errors: ReadonlyArray<string>
  readonly handlers: ReadonlyArray<HandlerLiteral>
}

const writes = new Set(["systemWriteAs", "systemWriteAll"])

/**
 * Whether a source names no handler but these, as far as can be told without parsing it: false is no answer. Each place where a write may be
 * must be a call with one of the names, whether it is code or not. Where the answer is true, the parser need not be loaded.
 */
export const namesOnly = (source: string, known: ReadonlyArray<string>): boolean => {
  // With an escape, a name can be written in other ways.
  if (source.includes("\\")) return false
  const call = /systemWrite(?:As|All)\s*\(\s*(["'])([^"'\\\n]*)\1\s*[,)]/y
  return [...source.matchAll(/systemWrite/g)].every(({ index }) => {
    call.lastIndex = index
    const [, , name] = call.exec(source) ?? []
    return name !== undefined && known.includes(name)
  })
}

/** The parser, loaded when it is first needed. */
let parser: Promise<typeof import("oxc-parser")> | undefined

const loadParser = (): NonNullable<typeof parser> => (parser ??= import("oxc-parser"))

/** Gives the syntax tree of a source; none where it has errors, or cannot be parsed. */
export type Parse = (path: string, source: string) => Option.Option<unknown>

/** The parser for modules of TypeScript and JavaScript; the reason where it cannot be loaded. */
export const parse: Effect.Effect<Parse, string> = Effect.tryPromise({
  try: loadParser,
  catch: (error) => `oxc-parser cannot be loaded: ${describe(error).message.split("\n")[0]}`
}).pipe(
  Effect.map(({ parseSync }): Parse => {
    const read = Option.liftThrowable(parseSync)
    return (path, source) =>
      read(path, source, { sourceType: "module", astType: "ts", preserveParens: false }).pipe(
        Option.filter(({ errors }) => errors.length === 0),
        Option.map(({ program }) => program)
      )
  })
)

/** Parses a module of TypeScript or JavaScript; comments and strings are no calls. */
export const read = (path: string, source: string): Effect.Effect<Syntax> =>
  Effect.tryPromise({
    try: async () => syntaxIn(await loadParser(), path, source),
    catch: (error) => `it cannot be parsed: ${describe(error).message}`
  }).pipe(Effect.catchAll((reason) => Effect.succeed({ handlers: [], errors: [reason] })))

const syntaxIn = ({ parseSync, Visitor }: typeof import("oxc-parser"), path: string, source: string): Syntax => {
  const { errors, program } = parseSync(path, source, { sourceType: "module" })
  const lineOf = (offset: number) => source.slice(0, offset).split("\n").length
  const handlers: Array<HandlerLiteral> = []
  new Visitor({
    CallExpression: ({ arguments: [first], callee }) => {
      if (!writes.has(calledName(callee) ?? "") || first === undefined) return
      const name = literalText(first)
      if (name !== undefined) handlers.push({ name, line: lineOf(first.start) })
    }
  }).visit(program)
  return {
    handlers,
    errors: errors.map(({ labels, message }) => {
      const start = labels[0]?.start
      return start === undefined ? message : `line ${lineOf(start)}: ${message}`
    })
  }
}

/** The expression inside parentheses and what TypeScript adds around one. */
const bare = (expression: Expression): Expression => {
  switch (expression.type) {
    case "ParenthesizedExpression":
    case "TSAsExpression":
    case "TSNonNullExpression":
    case "TSSatisfiesExpression":
    case "TSTypeAssertion":
      return bare(expression.expression)
    default:
      return expression
  }
}

const calledName = (callee: Expression): string | undefined => {
  const called = bare(callee)
  if (called.type === "Identifier") return called.name
  if (called.type !== "MemberExpression") return undefined
  if (called.property.type === "PrivateIdentifier") return undefined
  return called.computed
    ? literalText(called.property)
    : called.property.type === "Identifier"
      ? called.property.name
      : undefined
}

const literalText = (argument: Argument): string | undefined => {
  if (argument.type === "SpreadElement") return undefined
  const literal = bare(argument)
  if (literal.type === "Literal" && typeof literal.value === "string") return literal.value
  return literal.type === "TemplateLiteral" && literal.expressions.length === 0
    ? literal.quasis.map(({ value }) => value.cooked ?? value.raw).join("")
    : undefined
}
