/**
 * Rebuilds in memory and on PostgreSQL.
 */
import { EsOps } from "effect-es-ops"
import { postgresOf } from "../support/services.js"
import * as RebuildSuite from "../suites/RebuildSuite.js"

const features = [RebuildSuite.feature]

RebuildSuite.suite("memory", EsOps.layerMemory({ seeds: {}, features }))
RebuildSuite.suite("PostgreSQL", postgresOf(features))
