import { EsOps } from "effect-es-ops"
import { dispatcher } from "./src/dispatcher.js"

export default EsOps.config({ seeds: "./seeds", dispatcher })
