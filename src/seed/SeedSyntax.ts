/**
 * What can be read from a seed's source without running it: whether it parses, and which handlers it names.
 */
import type { Argument, Expression } from "oxc-parser"
import * as Effect from "effect/Effect"
import { describe } from "../operation/Attempt.js"

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

/** Parses a module of TypeScript or JavaScript; comments and strings are no calls. The parser is loaded when first needed. */
export const read = (path: string, source: string): Effect.Effect<Syntax> =>
  Effect.tryPromise({
    try: async () => parse(await import("oxc-parser"), path, source),
    catch: (error) => `it cannot be parsed: ${describe(error).message}`
  }).pipe(Effect.catchAll((reason) => Effect.succeed({ handlers: [], errors: [reason] })))

const parse = ({ parseSync, Visitor }: typeof import("oxc-parser"), path: string, source: string): Syntax => {
  const { errors, program } = parseSync(path, source, { sourceType: "module" })
  const lineOf = (offset: number) => source.slice(0, offset).split("\n").length
  const handlers: Array<HandlerLiteral> = []
  new Visitor({
    CallExpression: ({ arguments: [first], callee }) => {
      if (!writes.has(calledName(callee)) || first === undefined) return
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

const calledName = (callee: Expression): string => {
  if (callee.type === "Identifier") return callee.name
  return callee.type === "MemberExpression" && callee.property.type === "Identifier" ? callee.property.name : ""
}

const literalText = (argument: Argument): string | undefined => {
  if (argument.type === "Literal" && typeof argument.value === "string") return argument.value
  return argument.type === "TemplateLiteral" && argument.expressions.length === 0
    ? argument.quasis.map(({ value }) => value.cooked ?? value.raw).join("")
    : undefined
}
