/**
 * Advice for a seed that was interrupted half-way.
 */

/** The commands for a seed that was interrupted half-way, once somebody has looked at what it left behind. */
export const afterInterruption = (id: string): string =>
  `es-ops seed:apply --retry ${id} runs it again, and es-ops seed:mark ${id} --reason <text> records it without running it`
