/**
 * URLs of servers: sockets, schemas that other tools read, certificates, and what is shown of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import { Client } from "pg"
import * as ServerUrl from "../../src/operation/ServerUrl.js"

const shownOf = (text: string) => Either.getOrThrow(ServerUrl.read(text)).shown
const urlOf = (text: string) => Either.getOrThrow(ServerUrl.read(text)).url

describe("ServerUrl", () => {
  it("a parameter that other tools read as a schema is refused with the one that works", () => {
    for (const name of ["schema", "currentSchema", "search_path", "SCHEMA", "searchPath", "search-path"]) {
      const refused = Either.flip(ServerUrl.read(`postgres://u:secret@h/db?sslmode=disable&${name}=tenant1`))
      const reason = Either.getOrThrow(refused)
      assert.include(reason, name)
      assert.include(reason, "options=-c%20search_path%3Dtenant1")
      assert.notInclude(reason, "secret")
    }
  })

  it("the parameter that works is taken as it is", () => {
    const url = "postgres://u@h/db?options=-c%20search_path%3Dtenant1"
    assert.strictEqual(urlOf(url), url)
  })

  it("the URL of a socket is read with and without a host, a user, a port or an encoded folder", () => {
    for (const [url, host, port] of [
      ["postgres://u@/db?host=/tmp/socket", "/tmp/socket", 5432],
      ["postgres://u:secret@/db?host=%2Ftmp%2Fsocket&port=5544", "/tmp/socket", 5544],
      ["postgres:///db?host=/tmp/socket&user=u", "/tmp/socket", 5432],
      ["postgres://u@%2Ftmp%2Fsocket/db", "/tmp/socket", 5432],
      ["postgresql://u:secret@%2Ftmp%2Fsocket:5544/db", "/tmp/socket", 5544],
      ["postgres://u@localhost/db?host=/tmp/socket", "/tmp/socket", 5432]
    ] as const) {
      assert.notInclude(shownOf(url), "secret", url)
      assert.notInclude(shownOf(url), "no-host", url)
      const client = new Client({ connectionString: urlOf(url) })
      assert.deepStrictEqual([client.host, client.port, client.database], [host, port, "db"], url)
    }
  })

  it("what is no URL of a server is refused as before", () => {
    for (const url of [
      "not a url",
      "mysql://h/db",
      "postgres://u:p@ss/w@h/db",
      "postgres://u@h:99999/db",
      "postgres://u@/d@b"
    ]) {
      assert.isTrue(Either.isLeft(ServerUrl.read(url)), url)
    }
  })

  it("a wish for encryption that the driver would take for another is refused with the values that there are", () => {
    for (const [wish, said] of [
      ["sslmode=banana", "sslmode=verify-full"],
      ["sslmode=DISABLE", "sslmode=disable"],
      ["sslmode=disable&sslmode=off", "sslmode=off is none of"],
      ["uselibpqcompat=true&sslmode=verify", "sslmode=verify-ca"],
      ["ssl=false", "ssl=0"],
      ["ssl=banana", "ssl=true"],
      ["SSLMODE=require", "say sslmode=require"],
      ["ssl_mode=verify-full", "say sslmode=verify-full"]
    ] as const) {
      const reason = Either.getOrThrow(Either.flip(ServerUrl.read(`postgres://u:secret@h/db?${wish}`)))
      assert.include(reason, said, wish)
      assert.notInclude(reason, "secret")
    }
    for (const kept of ["sslmode=allow", "sslmode=", "ssl=true", "ssl=1", "ssl=0", "sslmode=no-verify"])
      assert.isTrue(Either.isRight(ServerUrl.read(`postgres://u@h/db?${kept}`)), kept)
  })

  it("the certificate is checked with sslmode=require as the driver checks it, without the driver's warning", () => {
    const warned: Array<string> = []
    const warn = (warning: Error) => void warned.push(warning.message)
    process.on("warning", warn)
    for (const mode of ["prefer", "require", "verify-ca", "verify-full"]) {
      assert.strictEqual(urlOf(`postgres://u@h/db?sslmode=${mode}&x=1`), "postgres://u@h/db?sslmode=verify-full&x=1")
      assert.strictEqual(new Client({ connectionString: urlOf(`postgres://u@h/db?sslmode=${mode}`) }).host, "h")
    }
    for (const kept of ["sslmode=disable", "sslmode=no-verify", "uselibpqcompat=true&sslmode=require"]) {
      assert.strictEqual(urlOf(`postgres://u@h/db?${kept}`), `postgres://u@h/db?${kept}`)
    }
    process.removeListener("warning", warn)
    assert.deepStrictEqual(warned, [])
  })
})
