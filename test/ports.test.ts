import * as DirectorySuite from "./suites/DirectorySuite.js"
import * as EventStoreSuite from "./suites/EventStoreSuite.js"
import * as StepSuite from "./suites/StepSuite.js"
import { memory, postgres } from "./support/services.js"

StepSuite.suite("memory", memory)
StepSuite.suite("PostgreSQL", postgres)
EventStoreSuite.suite("memory", memory)
EventStoreSuite.suite("PostgreSQL", postgres)
DirectorySuite.suite("memory", memory)
DirectorySuite.suite("PostgreSQL", postgres)
