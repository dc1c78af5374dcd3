// How Sluice says no over SSH, in sentences for a terminal: one line, without control characters, and within a bound, since a part of it
// may quote a stranger or a lock's author. Where each sentence is heard stands in README.md.

import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Refusal } from '../../core/protocol.ts'

/** A login that is refused. */
export function denied(refusal: Refusal): string {
  const by = refusal.kind === 'policy' ? 'denied by Sluice policy' : 'refused by Sluice'
  return line(`${by}${decision(refusal)}: ${refusal.reason}. ${refusal.next}`)
}

/** The end of a running session. */
export function evicted(refusal: Refusal): string {
  const by = refusal.kind === 'unavailable' ? 'Sluice' : 'Sluice policy'
  return line(`session ended by ${by}${decision(refusal)}: ${refusal.reason}. ${refusal.next}`)
}

/** Something inside a session that its roles, or its certificate, do not allow. */
export function forbidden(what: string): string {
  return line(`Sluice: ${what}`)
}

/** What a machine, or the way to it, says of its failure. Errors that are nobody's sentences are not shown. */
export function failed(what: string, error: unknown): string {
  return line(`Sluice: ${what}: ${reasonOf(error)}`)
}

/** The sentence of an error that may be shown. */
export function reasonOf(error: unknown): string {
  const sentence = error instanceof Error ? error.message : ''
  // System errors carry codes of their own (ENOENT) and texts with paths of this host.
  const ours = errorCode(error) !== undefined || (error instanceof Error && !('code' in error))
  return line(ours && sentence !== '' ? sentence : 'it failed').replace(/\.$/, '')
}

/** One line of text as a terminal may show it. */
export function line(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ').slice(0, max('sshSentenceCharsMax'))
}

/** For the stderr of a program that may have left its line unfinished. */
export function onStderr(sentence: string): string {
  return `\r\n${sentence}\r\n`
}

function decision({ decisionId }: Refusal): string {
  return decisionId === '' ? '' : ` (decision ${decisionId})`
}
