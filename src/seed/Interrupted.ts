/**
 * A seed that was interrupted half-way outside any transaction: what there is to do about it.
 */

/** What to type when somebody has looked at what it left behind. */
export const whatNext = (id: string): string =>
  `es-ops seed:apply --retry ${id} runs it again, and es-ops seed:mark ${id} --reason <text> records it without running it`
