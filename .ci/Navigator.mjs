/**
 * `navigator` for what is bundled, with the name that Node gives itself there from its version 21 on. Where there is none, pg (8.23) makes a
 * `Response` to find out whether it runs on Cloudflare, for which Node loads all of its fetch.
 */
import { versions } from "node:process"

const [major] = versions.node.split(".")

export const navigator = globalThis.navigator ?? { userAgent: `Node.js/${major}` }
