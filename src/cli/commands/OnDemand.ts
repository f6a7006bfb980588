/**
 * What a status in lines does without. It is loaded when it is needed, and as one: each module that is loaded by itself is a file of the bundle,
 * and so is all that two of them share.
 */
export { withDatabase, withoutDatabase } from "./CommandSession.js"
export { declarations } from "./OperationCommands.js"
export { reportNotStarted } from "./ApplyCommand.js"
export { statusDocument } from "../output/Documents.js"
