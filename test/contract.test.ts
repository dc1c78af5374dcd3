// Runs the contract suite over every row of the registry, and over two fakes that show what a row needs at least.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'

import { protocolByAlpn, protocols, recogniseFirst } from '../protocols/registry.ts'
import { framedSuite, recognitionSuite, type FramedScripts } from './contract.ts'
import { ssh } from '../protocols/ssh/index.ts'
import { echo } from './fake/echo.ts'
import { line } from './fake/line.ts'
import { lineScripts } from './scripts/line.ts'
import { postgresScripts } from './scripts/postgres.ts'
import { sshFirsts, sshScript } from './scripts/ssh.ts'
import { readAll, streamingSuite } from './streaming.ts'

/** A new row of the registry gets its scripts here; the test below fails until then. */
const SCRIPTS = new Map<string, FramedScripts>([['postgres', postgresScripts]])

/** Rows that own a duplex and do not dial by themselves have their suites beside them: what they do is asked of other services. */
const OWN_SUITES = new Map([['ssh', '../protocols/ssh/session.test.ts']])

for (const protocol of protocols) {
  const scripts = SCRIPTS.get(protocol.name)
  if (protocol.shape === 'framed' && scripts !== undefined) framedSuite(protocol, scripts)
}
framedSuite(line, lineScripts)

test('every protocol of the registry has scripts for the suite', () => {
  assert.deepEqual(
    protocols.map(({ name }) => name),
    [...SCRIPTS.keys(), ...OWN_SUITES.keys()],
  )
  for (const file of OWN_SUITES.values()) assert.ok(existsSync(new URL(file, import.meta.url)))
})

test('names, ALPN names and folders of the registry belong to one protocol each', () => {
  const names = protocols.flatMap(({ name, alpn }) => [name, ...alpn.map((word) => `alpn ${word}`)])
  assert.equal(new Set(names).size, names.length)
  assert.equal(protocolByAlpn('postgresql')?.name, 'postgres')
  assert.equal(protocolByAlpn('h2'), undefined)
})

test('first bytes go to the first row that knows them, and are given up when no row can know them', () => {
  const rows = [line, echo, ...protocols]
  assert.deepEqual(recogniseFirst(Buffer.from('LI'), rows), { verdict: 'more' })
  const known = recogniseFirst(Buffer.from('LINE'), rows)
  assert.equal('protocol' in known && known.protocol.name, 'line')
  const asked = recogniseFirst(Buffer.from('0000000804d2162f', 'hex'), rows)
  assert.equal('protocol' in asked && asked.protocol.name, 'postgres')
  assert.deepEqual(recogniseFirst(Buffer.from('LO'), rows), { verdict: 'no' })
})

for (const protocol of protocols)
  if (protocol.name === 'ssh')
    recognitionSuite(protocol, [
      { bytes: Buffer.from('SSH-'), verdict: 'mine' },
      { bytes: Buffer.from('SMB'), verdict: 'no' },
    ])
recognitionSuite(echo, [
  { bytes: Buffer.from('HI '), verdict: 'mine' },
  { bytes: Buffer.from('HO '), verdict: 'no' },
])
streamingSuite(echo, {
  hello: async (client) => {
    await client.write(Buffer.from('HI alice app\n'))
    return { stream: client, words: () => readAll(client) }
  },
  heard: (words, decisionId) => words.toString().endsWith(`NO ${decisionId}\n`),
})

recognitionSuite(ssh, sshFirsts)
streamingSuite(ssh, sshScript)
