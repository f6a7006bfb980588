/**
 * Values of columns as they are stored: one form for each value, in whichever of its forms it was given.
 */
import * as Either from "effect/Either"
import * as JsonValue from "./JsonValue.js"
import type { Column } from "./Table.js"

/** The value as the column holds it, or why it cannot. */
export const of = (column: Column, value: unknown): Either.Either<unknown, string> =>
  value === null || value === undefined ? absent(column) : forms[column.type](value)

/** Orders two values of a column that were made by `of`. */
export const compare = ({ type }: Column, one: unknown, other: unknown): number => {
  if (type === "bigint") return sign(BigInt(String(one)), BigInt(String(other)))
  return typeof one === "number" && typeof other === "number" ? sign(one, other) : sign(String(one), String(other))
}

type Form = (value: unknown) => Either.Either<unknown, string>

const absent = ({ name, nullable, type }: Column): Either.Either<null, string> =>
  nullable === true || type === "jsonb" ? Either.right(null) : Either.left(`column "${name}" is null`)

const sign = <A extends bigint | number | string>(one: A, other: A): number => (one < other ? -1 : one > other ? 1 : 0)

const noSuch = (value: unknown, type: string): Either.Either<never, string> =>
  Either.left(`${typeof value === "string" ? JSON.stringify(value) : String(value)} is no ${type}`)

const asStored = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

const uuid: Form = (value) => {
  if (typeof value === "string" && asStored.test(value)) return Either.right(value)
  const digits = String(value).toLowerCase().replaceAll(/[{}-]/g, "")
  return /^[0-9a-f]{32}$/.test(digits)
    ? Either.right(digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"))
    : noSuch(value, "uuid")
}

const text: Form = (value) =>
  typeof value === "string" && value.isWellFormed() && !value.includes("\u0000")
    ? Either.right(value)
    : noSuch(value, "text")

const integer: Form = (value) =>
  typeof value === "number" && Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31
    ? Either.right(value + 0)
    : noSuch(value, "integer")

const bigint: Form = (value) => {
  const isNumber = typeof value === "string" ? /^\s*[+-]?\d+\s*$/.test(value) : Number.isSafeInteger(value)
  if (!isNumber) return noSuch(value, "bigint")
  const number = BigInt(String(value).trim().replace(/^\+/, ""))
  return BigInt.asIntN(64, number) === number ? Either.right(`${number}`) : noSuch(value, "bigint")
}

const boolean: Form = (value) => (typeof value === "boolean" ? Either.right(value) : noSuch(value, "boolean"))

const jsonb: Form = (value) => Either.mapLeft(JsonValue.toJson(value, "value"), ({ message }) => message)

/** ISO 8601 in UTC, with microseconds, as the server has them. */
const timestamptz: Form = (value) => {
  if (value === "infinity" || value === "-infinity") return Either.right(value)
  const [, whole = "", fraction = "", offset = ""] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)$/.exec(String(value)) ?? []
  const time = Date.parse(`${whole}${offset}`)
  return Number.isNaN(time)
    ? noSuch(value, "timestamptz")
    : Either.right(`${new Date(time).toISOString().slice(0, -4)}${fraction.slice(0, 6).padEnd(6, "0")}Z`)
}

const forms: { readonly [type in Column["type"]]: Form } = {
  uuid,
  text,
  integer,
  bigint,
  boolean,
  jsonb,
  timestamptz
}
