import { EsOps } from "effect-es-ops"
import { payments } from "./src/payments.js"
import { lanes } from "./src/services.js"

export default EsOps.config({ seeds: "./seeds", features: [payments], cluster: lanes })
