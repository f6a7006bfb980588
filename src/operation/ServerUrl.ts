/**
 * The URL of a server, read before the driver sees it: the driver takes any text for the name of a database, and a parameter that it does not
 * know for none.
 */
import * as Either from "effect/Either"

/** What the driver is given, and what may be shown: without the password. */
export interface ServerUrl {
  readonly url: string
  readonly shown: string
}

/** Reads it, or says why it cannot be used. */
export const read = (text: string): Either.Either<ServerUrl, string> => {
  if (!/^postgres(ql)?:\/\//.test(text)) {
    return Either.left("it is not a URL that begins with postgres:// or postgresql://")
  }
  const url = parsed(text)
  // An @ behind the host: the host was a part of the password, and what is shown of the URL would have the rest of it.
  if (url === undefined || /@/.test(url.pathname + url.hash) || /^\?[^=]*@/.test(url.search)) {
    return Either.left(
      "it is not a URL that can be read: is the port a number up to 65535, and are / # ? @ in the password percent-encoded?"
    )
  }
  const schema = [...url.searchParams.keys()].find((name) =>
    schemaParameters.has(name.toLowerCase().replaceAll(/[^a-z]/g, ""))
  )
  if (schema !== undefined) {
    const named = url.searchParams.get(schema) ?? ""
    const works = `options=-c%20search_path%3D${named === "" ? "<schema>" : encodeURIComponent(named)}`
    return Either.left(`the parameter ${schema} names no schema here and would be ignored: say ${works}`)
  }
  const encryption = [...url.searchParams].flatMap(([name, value]) => misread(name, value))[0]
  if (encryption !== undefined) return Either.left(encryption)
  return Either.right({ url: withCheckedCertificate(text), shown: hidden(url) })
}

const modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full", "no-verify"]

const switches = ["true", "1", "0"]

/** What the driver would take for another wish than the one that was meant: any word but `disable` is TLS to it, and any other name is nothing. */
const misread = (name: string, value: string): ReadonlyArray<string> => {
  const wrong = (values: ReadonlyArray<string>) =>
    `${name}=${value} is none of ${values.map((known) => `${name}=${known}`).join(", ")}`
  if (name === "sslmode") return value === "" || modes.includes(value) ? [] : [wrong(modes)]
  if (name === "ssl") return value === "" || switches.includes(value) ? [] : [wrong(switches)]
  return name.toLowerCase().replaceAll(/[^a-z]/g, "") === "sslmode"
    ? [`the parameter ${name} would be ignored, and the connection might not be encrypted: say sslmode=${value}`]
    : []
}

/** Whether it asks for an encrypted connection. */
export const isEncrypted = (text: string): boolean => /[?&](?:sslmode=(?!disable\b)[a-z]|ssl=(?:true|1)\b)/.test(text)

/** Other tools' parameters for a schema, without what is between their words. */
const schemaParameters = new Set(["schema", "schemas", "schemaname", "defaultschema", "currentschema", "searchpath"])

/** A host that stands for none: URLs of sockets have theirs in `?host=`, or none at all, which a URL with a user must not. */
const noHost = "no-host.invalid"

const parsed = (text: string): URL | undefined => {
  if (URL.canParse(text)) return new URL(text)
  const [, before = "", port = "", behind = ""] = /^([a-z]+:\/\/[^/?#]*@)(:\d+)?((?:[/?#].*)?)$/s.exec(text) ?? []
  const filled = `${before}${noHost}${port}${behind}`
  return before !== "" && URL.canParse(filled) ? new URL(filled) : undefined
}

/**
 * The driver takes prefer, require and verify-ca for verify-full, and warns on stderr that this will change; said outright, it stays so. With
 * uselibpqcompat they mean what they mean to libpq.
 */
const withCheckedCertificate = (text: string): string =>
  /[?&]uselibpqcompat=true/.test(text)
    ? text
    : text.replace(/([?&]sslmode=)(?:prefer|require|verify-ca)(?=&|#|$)/g, "$1verify-full")

/** The URL with its password hidden, wherever it stands. */
const hidden = (url: URL): string => {
  const shown = new URL(url)
  if (shown.password !== "") shown.password = "***"
  if (shown.searchParams.has("password")) shown.searchParams.set("password", "***")
  return shown.href.replace(noHost, "")
}
