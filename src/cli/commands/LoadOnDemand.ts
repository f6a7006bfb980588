/**
 * Loads what a status in lines does without.
 */

let loading: Promise<typeof import("./OnDemand.js")> | undefined

/** The module, loaded when it is first needed. It is a file of this package: it is there. */
export const load = (): NonNullable<typeof loading> => (loading ??= import("./OnDemand.js"))
