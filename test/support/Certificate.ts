/**
 * A certificate of 127.0.0.1 that has signed itself, written as X.509 has it (RFC 5280), as Node makes keys but no certificates.
 */
import { generateKeyPairSync, sign } from "node:crypto"

/** Certificate and private key as PEM. */
export interface Certificate {
  readonly certificate: string
  readonly key: string
}

export const make = (): Certificate => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
  const sha256WithRsa = der(0x30, oid("2a864886f70d01010b"), der(0x05))
  const name = der(0x30, der(0x31, der(0x30, oid("550403"), text(0x0c, "127.0.0.1"))))
  const validity = der(0x30, text(0x17, "200101000000Z"), text(0x17, "491231235959Z"))
  const address = der(0x30, der(0x87, Buffer.from([127, 0, 0, 1])))
  const extensions = der(
    0xa3,
    der(
      0x30,
      der(0x30, oid("551d13"), der(0x04, der(0x30, der(0x01, Buffer.from([0xff]))))),
      der(0x30, oid("551d11"), der(0x04, address))
    )
  )
  const signed = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    sha256WithRsa,
    name,
    validity,
    name,
    publicKey.export({ type: "spki", format: "der" }),
    extensions
  )
  const signature = der(0x03, Buffer.from([0]), sign("sha256", signed, privateKey))
  return {
    certificate: pem(der(0x30, signed, sha256WithRsa, signature)),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString()
  }
}

/** A value of a type, with its length before it. */
const der = (type: number, ...parts: ReadonlyArray<Buffer>): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([type, ...size]), content])
}

const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"))

const text = (type: number, content: string): Buffer => der(type, Buffer.from(content))

const pem = (content: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${(content.toString("base64").match(/.{1,64}/g) ?? []).join("\n")}\n-----END CERTIFICATE-----\n`
