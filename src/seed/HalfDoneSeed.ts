/**
 * Advice for a seed that was interrupted half-way, or edited there.
 */

/** The commands for a seed that was interrupted half-way, once somebody has looked at what it left behind. */
export const afterInterruption = (id: string): string =>
  `es-ops seed:apply --retry ${id} runs it again, and es-ops seed:mark ${id} --reason <text> records it without running it`

/** The warning about a seed in batches that was edited half-way. */
export const editedWarning = (id: string): string =>
  `"${id}" was edited while it is half done: what is done stays as it was done, and the rest is done by what it says now (seed:apply --restart ${id} begins anew)`
