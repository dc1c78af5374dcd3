// Codecs of text: audit lines and their chain, sluice.yaml, resource files, bodies of the API, and what control and the signer say
// to each other. Text comes as bytes; what is no UTF-8 is read as the readers of sockets and files read it.

import assert from 'node:assert/strict'

import { canonicalJson } from '../../../core/cert/canonical.ts'
import { genesis, isIntact, nextLine, readLine } from '../../../core/audit/chain.ts'
import { auditEvent } from '../../../core/audit/event.ts'
import { LineCutter } from '../../../core/audit/lines.ts'
import { ChainVerifier } from '../../../core/audit/verify.ts'
import { errorCode } from '../../../core/errors.ts'
import { readBody } from '../../../control/api/body.ts'
import { loadConfig } from '../../../control/config.ts'
import { parseDocuments, renderDocument } from '../../../control/resources/resource.ts'
import { LineReader } from '../../../control/signer/lines.ts'
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
} from '../../../control/signer/protocol.ts'
import { userIdentity } from '../../fixtures/certificates.ts'
import { type Codec, pieces } from '../engine.ts'
import { declared } from './postgres.ts'

const WRITER = 'control-1'

function chain(...words: readonly string[]): Buffer {
  let position = genesis(WRITER)
  const lines = words.map((user, index) => {
    const origin = { uid: `u-${index}`, timeMs: 1000 * index, cluster: 'c' }
    const next = nextLine(
      position,
      canonicalJson(auditEvent('user.login', 'T1000I', { user }, origin)),
    )
    position = next.position
    return `${next.line}\n`
  })
  return Buffer.from(lines.join(''))
}

const GOOD = chain('alice', 'bob ☂', 'carol', 'dave')

/** A log of some bytes: what is found at fault does not depend on how it was read, and nothing but the genuine log passes whole. */
const auditLog: Codec = {
  name: 'audit-log',
  seeds: () => [GOOD, chain('alice')],
  check(bytes, cuts) {
    const whole = verified([bytes])
    assert.deepEqual(verified(pieces(bytes, cuts)), whole)
    assert.ok(
      Buffer.compare(GOOD.subarray(0, whole.good), bytes.subarray(0, whole.good)) === 0,
      'a record that was never written is taken for one',
    )
    return whole.fault
  },
}

function verified(chunks: readonly Uint8Array[]): { fault: string; good: number; lines: number } {
  const cutter = new LineCutter()
  const verifier = new ChainVerifier(genesis(WRITER))
  let [good, lines] = [0, 0]
  const judge = (line: {
    text: string | undefined
    number: number
    offset: number
    end: number
  }): void => {
    lines++
    const { text, number, offset, end } = line
    verifier.line(text, { file: 'f', line: number, offset })
    if (verifier.fault === undefined) good = end
  }
  // The file is read by chunks whose memory is used again.
  for (const chunk of chunks) {
    const buffer = Buffer.from(chunk)
    for (const line of cutter.push(buffer)) judge(line)
    buffer.fill(0)
  }
  const rest = cutter.rest()
  if (rest !== undefined) judge(rest)
  return { fault: verifier.fault?.kind ?? 'good', good: Math.min(good, GOOD.length), lines }
}

const auditLine: Codec = {
  name: 'audit-line',
  seeds: () =>
    GOOD.toString()
      .trimEnd()
      .split('\n')
      .map((line) => Buffer.from(line)),
  check(bytes) {
    const record = readLine(Buffer.from(bytes).toString('utf8'))
    if (record === undefined) return 'none'
    return isIntact(record) ? 'intact' : 'changed'
  },
}

const CONFIG = `version: v3
teleport: {nodename: db-host-1, data_dir: /srv/sluice, auth_token: secret}
auth_service: {enabled: no}
proxy_service:
  enabled: yes
  public_addr: a.example:443
db_service:
  enabled: yes
  databases:
    - name: orders
      protocol: postgres
      uri: 10.0.0.5:5432
      static_labels: {env: prod}
`

/** A text that must be read or refused with one code that names a line. */
function textCodec(
  name: string,
  code: 'config.invalid' | 'resource.invalid',
  seeds: readonly string[],
  read: (text: string) => string,
): Codec {
  return {
    name,
    seeds: () => seeds.map((text) => Buffer.from(text)),
    check(bytes) {
      try {
        return read(Buffer.from(bytes).toString('utf8'))
      } catch (error) {
        // What is quoted of the text stands in front; the end of the sentence says what is wrong with it.
        return declared(error, code)
          .replaceAll(/[^a-z ]/g, '')
          .slice(-16)
      }
    },
  }
}

const config = textCodec('config', 'config.invalid', [CONFIG, 'a: &x [1]\nb: *x\n'], (text) => {
  loadConfig(text, 'f')
  return 'read'
})

const ROLE = `kind: role
version: v7
metadata: {name: shop, labels: {a: b}}
spec:
  allow: {db_labels: {env: [prod]}, db_users: [app, '{{internal.db_users}}'], db_names: ['*']}
  options: {max_session_ttl: 8h, client_idle_timeout: 30m}
`
const LOCK = `kind: lock
version: v2
metadata: {name: stop}
spec: {target: {user: alice}, message: no}
---
kind: db
version: v3
metadata: {name: orders, labels: {env: prod}}
spec: {protocol: postgres, uri: "10.0.0.5:5432"}
`

/** What was understood is written and understood again as the same. */
const resources = textCodec('resources', 'resource.invalid', [ROLE, LOCK], (text) => {
  const parsed = parseDocuments(text)
  const again = parseDocuments(renderDocument(...parsed))
  assert.deepEqual(again, parsed)
  return `read ${parsed.map(({ kind }) => kind).join(', ')}`
})

const body: Codec = {
  name: 'api-body',
  seeds: () =>
    ['{"a":1,"b":[true,null,{"c":"d\\u0041"}]}', '{"__proto__":{"a":1}}', '[[[[1]]]]', '"x"'].map(
      (text) => Buffer.from(text),
    ),
  check(bytes) {
    const text = Buffer.from(bytes).toString('utf8')
    const reading = readBody(text)
    if (!reading.ok) return reading.reason.replaceAll(/"(?:[^"\\]|\\.)*"|\d+/g, '#')
    // One reader saw what every other sees: without a key twice, the shortest text of the value is shorter or equal.
    assert.deepEqual(reading.value, JSON.parse(text))
    assert.ok(!/"__proto__"\s*:/.test(JSON.stringify(reading.value)))
    return typeof reading.value
  },
}

const SIGNER_LINES = [
  encodeRequest(1, { kind: 'authorities' }),
  encodeRequest(2, { kind: 'user', identity: userIdentity(), spki: Buffer.alloc(9), ttlMs: 5 }),
  encodeAnswer(3, { error: new TypeError('x') }),
]

/** Both ends read lines of the other: a signer must not fall over a hostile control, nor control over a hostile signer. */
const signer: Codec = {
  name: 'signer-lines',
  seeds: () => [...SIGNER_LINES, SIGNER_LINES.join('')].map((text) => Buffer.from(text)),
  check(bytes, cuts) {
    const whole = signerWords([bytes])
    assert.deepEqual(signerWords(pieces(bytes, cuts)), whole)
    return whole.join(', ').slice(0, 120)
  },
}

function signerWords(chunks: readonly Uint8Array[]): string[] {
  const reader = new LineReader('signerAnswerBytesMax')
  return chunks.flatMap((chunk) =>
    reader.push(chunk).flatMap((line) => [requested(line), answered(line)]),
  )
}

function requested(line: string): string {
  try {
    return decodeRequest(line).request.kind
  } catch (error) {
    return declared(error, 'signer.refused')
  }
}

function answered(line: string): string {
  try {
    const answer = decodeAnswer(line)
    return 'error' in answer ? `error ${errorCode(answer.error) ?? ''}` : answer.answer.kind
  } catch (error) {
    return declared(error, 'signer.unavailable')
  }
}

export const textCodecs: readonly Codec[] = [auditLog, auditLine, config, resources, body, signer]
