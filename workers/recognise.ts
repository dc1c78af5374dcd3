// What the first bytes of a connection are (design section 3.2): pure, total, in one order. A PROXY header was taken off before.
// It decides nothing about who may do what, and keeps nothing between calls.

import type { Hello } from '../core/hello.ts'
import { readHello } from '../core/hello.ts'
import type { Recognition } from '../core/protocol.ts'
import type { SparePreface } from '../core/tunnel/spare.ts'
import { readPreface } from '../core/tunnel/spare.ts'

/** What the recogniser needs of a protocol; every row of the registry is one. */
export interface Recogniser {
  readonly name: string
  readonly alpn: readonly string[]
  recognise(first: Uint8Array): Recognition
}

export type Found =
  /** Worth another look when `need` bytes are there. */
  | { readonly kind: 'more'; readonly need: number }
  | { readonly kind: 'tls'; readonly hello: Hello }
  | {
      readonly kind: 'answer'
      readonly protocol: string
      readonly bytes: Uint8Array
      readonly consumed: number
      readonly stage: string
    }
  | { readonly kind: 'signal'; readonly protocol: string; readonly key: Uint8Array }
  | { readonly kind: 'protocol'; readonly protocol: string }
  | { readonly kind: 'spare'; readonly preface: SparePreface; readonly end: number }
  | { readonly kind: 'http' }
  | { readonly kind: 'unknown' }

// RFC 9110, section 9.3, and PATCH (RFC 5789): enough to know a browser or a health check by.
const HTTP_METHODS = [
  'GET ',
  'HEAD ',
  'POST ',
  'PUT ',
  'DELETE ',
  'CONNECT ',
  'OPTIONS ',
  'TRACE ',
  'PATCH ',
].map((method) => Buffer.from(method))

/** Recognises `first`, of which nothing was taken yet. `only`: a protocol was answered already and may go on. */
export function recognise(
  first: Uint8Array,
  recognisers: readonly Recogniser[],
  only?: string,
): Found {
  const reading = readHello(first)
  if (reading.verdict === 'hello') return { kind: 'tls', hello: reading.hello }
  let need = reading.verdict === 'more' ? reading.need : 0
  for (const row of recognisers) {
    if (only !== undefined && row.name !== only) continue
    const found = asFound(row.name, row.recognise(first))
    if (found === 'more') need ||= first.length + 1
    else if (found !== 'no') return found
  }
  if (only === undefined) {
    const found = recogniseOwn(first)
    if (found === 'more') need ||= first.length + 1
    else if (found !== 'no') return found
  }
  return need > 0 ? { kind: 'more', need } : { kind: 'unknown' }
}

/** The protocol that clients mean who begin with TLS and offer one of its ALPN names. */
export function protocolOfAlpn(
  offered: readonly string[],
  recognisers: readonly Recogniser[],
): string | undefined {
  for (const name of offered)
    for (const row of recognisers) if (row.alpn.includes(name)) return row.name
  return undefined
}

function asFound(protocol: string, recognition: Recognition): Found | 'more' | 'no' {
  switch (recognition.verdict) {
    case 'more':
    case 'no':
      return recognition.verdict
    case 'mine':
      return { kind: 'protocol', protocol }
    case 'signal':
      return { kind: 'signal', protocol, key: recognition.key }
    case 'answer': {
      const { bytes, consumed, stage } = recognition
      return { kind: 'answer', protocol, bytes, consumed, stage }
    }
  }
}

/** Our own tunnel's spares, and HTTP without TLS. */
function recogniseOwn(first: Uint8Array): Found | 'more' | 'no' {
  const spare = readPreface(first)
  if (spare.verdict === 'preface') return { kind: 'spare', preface: spare.preface, end: spare.end }
  if (spare.verdict === 'more') return 'more'
  let possible = false
  for (const method of HTTP_METHODS) {
    const known = Math.min(first.length, method.length)
    if (Buffer.compare(method.subarray(0, known), first.subarray(0, known)) !== 0) continue
    if (known === method.length) return { kind: 'http' }
    possible = true
  }
  return possible ? 'more' : 'no'
}
