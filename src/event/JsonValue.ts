/**
 * What JSON and PostgreSQL's `jsonb` keep as it is. Everything else (NaN, -0, a Date, a Map, an undefined in a list) would be stored changed,
 * or not at all, and is named by its path.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import { DatabaseError } from "../operation/OperationError.js"
import type { NewEvent } from "./Event.js"

/** Something in a value that JSON would change or lose: where, and what it is. */
export class NotJson {
  constructor(
    readonly path: string,
    readonly what: string
  ) {}

  get message(): string {
    return `${this.path} is ${this.what}: JSON would change or lose it`
  }
}

type Events = NonEmptyReadonlyArray<NewEvent>

/** Lists of events whose payloads and metadata are JSON. */
const seen = new WeakSet<ReadonlyArray<NewEvent>>()

/** Whether it was noted that the payloads and metadata of these events are JSON. */
export const isJson: (events: ReadonlyArray<NewEvent>) => boolean = seen.has.bind(seen)

/** Notes that the payloads and metadata of these events are copies, and JSON: they are not looked at again. */
export const noteJson: (events: ReadonlyArray<NewEvent>) => unknown = seen.add.bind(seen)

/** The value as JSON gives it back, which is a copy: what is undefined in an object is left out. `name` is what its path begins with. */
export const toJson = (value: unknown, name: string): Either.Either<unknown, NotJson> => {
  const copied = copy(value, name, [])
  return copied instanceof NotJson ? Either.left(copied) : Either.right(copied)
}

/** The same of an object. */
export const recordToJson = (value: object, name: string): Either.Either<Record<string, unknown>, NotJson> =>
  Either.flatMap(toJson(value, name), (given) =>
    Predicate.isRecord(given) ? Either.right(given) : Either.left(new NotJson(name, "no object"))
  )

/** The event with payload and metadata as they can be stored. */
const storable = (event: NewEvent): Either.Either<NewEvent, DatabaseError> => {
  const { aggregateType, metadata, payload, type } = event
  const kept = Either.all([
    recordToJson(payload, "payload"),
    toJson(metadata, "metadata"),
    toJson({ aggregateType, type }, "event")
  ])
  return Either.mapBoth(kept, {
    onLeft: ({ message }) => DatabaseError.because("appending events", message),
    onRight: ([json]) => ({ ...event, payload: json })
  })
}

/** The same of many events. */
export const allStorable = (events: Events): Either.Either<Events, DatabaseError> => {
  if (isJson(events)) return Either.right(events)
  const [first, ...others] = events
  return Either.flatMap(storable(first), (one) =>
    Either.map(Either.all(others.map(storable)), (more) => [one, ...more])
  )
}

/** Deeper than PostgreSQL reads with its default `max_stack_depth`; nobody nests like this by hand. */
const maxDepth = 1000

const copy = (value: unknown, path: string, within: ReadonlyArray<object>): unknown => {
  switch (typeof value) {
    case "string":
      return textFault(value, path) ?? value
    case "boolean":
      return value
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : new NotJson(path, Object.is(value, -0) ? "-0" : String(value))
    case "object":
      return value === null ? value : copyObject(value, path, within)
    default:
      return new NotJson(path, nouns[typeof value] ?? typeof value)
  }
}

const nouns: Readonly<Record<string, string>> = {
  bigint: "a bigint",
  function: "a function",
  symbol: "a symbol",
  undefined: "undefined"
}

const textFault = (text: string, path: string): NotJson | undefined => {
  if (text.includes("\u0000")) return new NotJson(path, "a text with a NUL character")
  return text.isWellFormed() ? undefined : new NotJson(path, "a text with half a surrogate pair")
}

const copyObject = (value: object, path: string, within: ReadonlyArray<object>): unknown => {
  if (within.includes(value)) return new NotJson(path, "a part of itself")
  if (within.length >= maxDepth) return new NotJson(path, `nested deeper than ${maxDepth} levels`)
  const inside = [...within, value]
  if (Array.isArray(value)) return copyList(value, path, inside)
  if (!isPlain(value)) return new NotJson(path, classOf(value))
  const entries: Array<readonly [string, unknown]> = []
  for (const [key, member] of Object.entries(value)) {
    if (member === undefined) continue
    const at = `${path}${memberPath(key)}`
    const copied = textFault(key, `the name of ${at}`) ?? copy(member, at, inside)
    if (copied instanceof NotJson) return copied
    entries.push([key, copied])
  }
  const [symbol] = Object.getOwnPropertySymbols(value)
  return symbol === undefined ? Object.fromEntries(entries) : new NotJson(`${path}[${String(symbol)}]`, "a symbol's")
}

const copyList = (list: ReadonlyArray<unknown>, path: string, within: ReadonlyArray<object>): unknown => {
  const extra = Object.keys(list).find((key, index) => key !== String(index) && !(Number(key) < list.length))
  if (extra !== undefined) return new NotJson(`${path}${memberPath(extra)}`, "a member of a list beside its items")
  const copies: Array<unknown> = []
  // By index: a hole in a list is undefined as well.
  for (let index = 0; index < list.length; index++) {
    const copied = copy(list[index], `${path}[${index}]`, within)
    if (copied instanceof NotJson) return copied
    copies.push(copied)
  }
  return copies
}

/** A literal, or an object without a prototype; of whatever realm. */
const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

const classOf = (value: object): string =>
  Predicate.isFunction(value.constructor) && value.constructor.name !== ""
    ? `a ${value.constructor.name}`
    : "an instance of a class"

const memberPath = (key: string): string => (/^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`)
