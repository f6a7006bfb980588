/**
 * The version of the command, which is the package's.
 */

export const version = "0.1.0"
