import { EsOps } from "effect-es-ops"
import { catalog } from "./src/catalog.js"
import { orders } from "./src/orders.js"

export default EsOps.config({ seeds: "./seeds", features: [catalog, orders] })
