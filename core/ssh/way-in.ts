// The few lines before SSH begins on a connection whose TLS said who is there (ALPN `sluice-ssh`, login certificate): which node is
// wanted, and whether the way is open. One line each way; the bytes behind the answer are the node's own SSH, unread by the proxy.
//
//   client:  node <name>\n          the name as the person typed it: `web-1`, `web-1.example.com`
//   proxy:   ok\n                   SSH follows
//            no <sentence>\n        and the connection ends: it is not allowed
//            away <sentence>\n      and the connection ends: it is not there, or who knows of it is not

import { max } from '../limits.ts'

export const SSH_ALPN = 'sluice-ssh'

export type WayInReading<T> =
  | { readonly verdict: 'more' }
  | { readonly verdict: 'bad' }
  | { readonly verdict: 'line'; readonly value: T; readonly end: number }

export type WayInAnswer =
  | { readonly open: true }
  | {
      readonly open: false
      /** Nobody says no: the same may be answered otherwise in a moment. */
      readonly away: boolean
      readonly sentence: string
    }

/** A name longer than `nameLengthMax`, or with a control character or a space, is no name. */
export function writeWanted(node: string): Uint8Array {
  if (!isName(node)) throw new TypeError('the name of a node cannot be written')
  return Buffer.from(`node ${node}\n`)
}

/** The node that is wanted. `end`: where the next byte is. */
export function readWanted(bytes: Uint8Array): WayInReading<string> {
  const line = readLine(bytes)
  if (line.verdict !== 'line') return line
  const node = line.value.startsWith('node ') ? line.value.slice(5) : ''
  return isName(node) ? { ...line, value: node } : { verdict: 'bad' }
}

export function writeWayInAnswer(answer: WayInAnswer): Uint8Array {
  if (answer.open) return Buffer.from('ok\n')
  // One line, whatever the sentence holds, and short enough for its reader.
  const sentence = answer.sentence.replaceAll(/[\p{Cc}\s]+/gu, ' ').slice(0, SENTENCE_CHARS_MAX)
  return Buffer.from(`${answer.away ? AWAY : NO}${sentence}\n`)
}

export function readWayInAnswer(bytes: Uint8Array): WayInReading<WayInAnswer> {
  const line = readLine(bytes)
  if (line.verdict !== 'line') return line
  if (line.value === 'ok') return { ...line, value: { open: true } }
  for (const word of [NO, AWAY])
    if (line.value.startsWith(word)) {
      const sentence = line.value.slice(word.length)
      return { ...line, value: { open: false, away: word === AWAY, sentence } }
    }
  return { verdict: 'bad' }
}

const NO = 'no '
const AWAY = 'away '

const SENTENCE_CHARS_MAX = 400
const LINE_FEED = 0x0a

function readLine(bytes: Uint8Array): WayInReading<string> {
  const at = bytes.subarray(0, max('sshWayInLineBytesMax')).indexOf(LINE_FEED)
  if (at >= 0) {
    const value = Buffer.from(bytes.subarray(0, at)).toString('utf8')
    return { verdict: 'line', value, end: at + 1 }
  }
  return bytes.length >= max('sshWayInLineBytesMax') ? { verdict: 'bad' } : { verdict: 'more' }
}

function isName(node: string): boolean {
  return node.length > 0 && node.length <= max('nameLengthMax') && !/[\p{Cc}\s]/u.test(node)
}
