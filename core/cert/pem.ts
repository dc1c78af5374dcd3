// PEM (RFC 7468), its strict form: one label, 64 base64 characters per line, nothing between the blocks but white space.
// Text before the first block is refused too: what a person reads there is not what the machine trusts. Never guesses.

import { ProxyError } from '../errors.ts'
import { max } from '../limits.ts'

export type PemLabel = 'CERTIFICATE' | 'CERTIFICATE REQUEST' | 'PRIVATE KEY' | 'PUBLIC KEY'

const LINE = 64

export function writePem(label: PemLabel, ...blocks: readonly Uint8Array[]): string {
  return blocks.map((der) => writeBlock(label, der)).join('')
}

/** All blocks of a text; each must carry the label. Throws `cert.malformed`. */
export function readPem(label: PemLabel, text: string): readonly Uint8Array[] {
  if (text.length > max('pemCharsMax')) throw notPem('it is too long')
  const blocks: Uint8Array[] = []
  const lines = text.split('\n').map((line) => line.trimEnd())
  let at = 0
  while (at < lines.length) {
    if (lines[at] === '') {
      at += 1
      continue
    }
    const end = lines.indexOf(`-----END ${label}-----`, at)
    if (lines[at] !== `-----BEGIN ${label}-----` || end < 0)
      throw notPem(`it is not made of ${label} blocks`)
    if (blocks.length === max('pemBlocksMax')) throw notPem('it has too many blocks')
    blocks.push(readBody(lines.slice(at + 1, end)))
    at = end + 1
  }
  if (blocks.length === 0) throw notPem(`it holds no ${label}`)
  return blocks
}

/** The one block of a text. Throws `cert.malformed` when there are several. */
export function readPemOne(label: PemLabel, text: string): Uint8Array {
  const [block, ...more] = readPem(label, text)
  if (block === undefined || more.length > 0) throw notPem(`it holds more than one ${label}`)
  return block
}

function writeBlock(label: PemLabel, der: Uint8Array): string {
  const base64 = Buffer.from(der).toString('base64')
  const lines: string[] = []
  for (let at = 0; at < base64.length; at += LINE) lines.push(base64.slice(at, at + LINE))
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

function readBody(lines: readonly string[]): Uint8Array {
  const full = lines.slice(0, -1).every((line) => line.length === LINE)
  if (!full || (lines.at(-1) ?? '').length > LINE) throw notPem('its lines are not 64 characters')
  const base64 = lines.join('')
  const der = Buffer.from(base64, 'base64')
  // Buffer skips what is not base64; writing it again shows whether anything was skipped.
  if (der.length === 0 || der.toString('base64') !== base64) throw notPem('its base64 is damaged')
  return der
}

function notPem(why: string): ProxyError {
  return new ProxyError('cert.malformed', `The PEM text is not valid: ${why}.`, { side: 'client' })
}
