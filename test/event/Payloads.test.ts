/**
 * Payloads are the same in memory and on a server.
 */
import * as PayloadSuite from "../suites/PayloadSuite.js"
import { memory, postgres } from "../support/services.js"

PayloadSuite.suite("memory", memory)
PayloadSuite.suite("PostgreSQL", postgres)
