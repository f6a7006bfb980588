/**
 * Rebuilds a projection, and says how much memory that took at most, in MiB: `node Rebuild.mjs <url> <projection>`.
 */
import { argv, resourceUsage } from "node:process"
import * as Orders from "./Orders.mjs"

const [, , url = "", projection = ""] = argv
const app = Orders.application(url)
await Orders.rebuild(app, projection)
await app.dispose()
console.log(resourceUsage().maxRSS / 1024)
