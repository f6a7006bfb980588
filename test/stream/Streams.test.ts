/**
 * Operations on streams, in memory, on a server and in an embedded database alike.
 */
import { EsOps } from "effect-es-ops"
import * as ArchiveSuite from "../suites/ArchiveSuite.js"
import * as MoveSuite from "../suites/MoveSuite.js"
import * as PurgeSuite from "../suites/PurgeSuite.js"
import { embeddedOf, postgresOf } from "../support/services.js"

for (const [name, services] of [
  ["memory", EsOps.layerMemory({ seeds: {}, features: [ArchiveSuite.shop] })],
  ["PostgreSQL", postgresOf([ArchiveSuite.shop])],
  ["PGlite", embeddedOf([ArchiveSuite.shop])]
] as const) {
  ArchiveSuite.suite(name, services)
  MoveSuite.suite(name, services)
  PurgeSuite.suite(name, services)
}
