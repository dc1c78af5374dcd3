// Text that somebody else chose, as it is quoted to people: names and patterns in refusals and explanations, words of an expression.

import { max } from '../limits.ts'

/** Bounded, and without characters that a terminal acts on or that reorder what stands around them. */
export function shown(text: string): string {
  const safe = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')
  const chars = Array.from(safe)
  const most = max('shownTextMax')
  return chars.length <= most ? safe : `${chars.slice(0, most).join('')}…`
}
