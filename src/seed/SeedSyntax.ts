/**
 * What can be read from a seed's source without running it: whether it parses, and which handlers it names.
 */
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
  Effect.tryPromise({ try: () => import("oxc-parser"), catch: (error) => describe(error).message }).pipe(
    Effect.map(({ parseSync, Visitor }) => {
      const { errors, program } = parseSync(path, source, { sourceType: "module" })
      const lineOf = (offset: number) => source.slice(0, offset).split("\n").length
      const handlers: Array<HandlerLiteral> = []
      new Visitor({
        CallExpression: ({ arguments: [first], callee }) => {
          const called =
            callee.type === "Identifier"
              ? callee.name
              : callee.type === "MemberExpression" && callee.property.type === "Identifier"
                ? callee.property.name
                : ""
          if (!writes.has(called) || first === undefined) return
          if (first.type === "Literal" && typeof first.value === "string") {
            handlers.push({ name: first.value, line: lineOf(first.start) })
          }
          if (first.type === "TemplateLiteral" && first.expressions.length === 0) {
            handlers.push({
              name: first.quasis.map(({ value }) => value.cooked ?? value.raw).join(""),
              line: lineOf(first.start)
            })
          }
        }
      }).visit(program)
      return {
        handlers,
        errors: errors.map(({ labels, message }) => {
          const start = labels[0]?.start
          return start === undefined ? message : `line ${lineOf(start)}: ${message}`
        })
      }
    }),
    Effect.catchAll((reason) =>
      Effect.succeed({ handlers: [], errors: [`the parser oxc-parser is not installed for this platform: ${reason}`] })
    )
  )
