// The tamper suite on lines in memory, and what a checkpoint proves to its receiver.

import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, it } from 'node:test'
import { canonicalJson } from '../cert/canonical.ts'
import { checkpointBody, signedMessage } from '../cert/signed.ts'
import type { AuditCheckpoint } from '../snapshot.ts'
import { type ChainPosition, genesis, nextLine, readLine } from './chain.ts'
import { isSignedCheckpoint, judgeCheckpoint, readCheckpoint } from './checkpoint.ts'
import { auditEvent } from './event.ts'
import { type ChainFault, ChainVerifier } from './verify.ts'

/** Lines of a chain whose records say `words`. */
function chain(words: readonly string[], start: ChainPosition = genesis('control')): string[] {
  let position = start
  return words.map((word, index) => {
    const origin = { uid: `u-${index}`, timeMs: 1000 * index, cluster: 'c' }
    const event = auditEvent('user.login', 'T1000I', { user: word }, origin)
    const next = nextLine(position, canonicalJson(event))
    position = next.position
    return next.line
  })
}

function verify(
  lines: readonly string[],
  anchors: readonly AuditCheckpoint[] = [],
): ChainFault | undefined {
  const verifier = new ChainVerifier(genesis('control'), anchors)
  let offset = 0
  for (const [index, line] of lines.entries()) {
    verifier.line(line, { file: 'f', line: index + 1, offset })
    offset += Buffer.byteLength(line) + 1
  }
  return verifier.end({ file: 'f', line: lines.length + 1, offset })
}

function anchorOf(lines: readonly string[], count: number): AuditCheckpoint {
  const head = readLine(lines[count - 1] ?? '')?.hash ?? ''
  return { writer: 'control', count, head, timeMs: 0, signature: '' }
}

const GOOD = chain(['a', 'b', 'c', 'd', 'e', 'f'])

/** The fault, its record and line; the offset must be where the line begins. */
function assertFault(
  lines: readonly string[],
  expected: string,
  anchors?: AuditCheckpoint[],
): void {
  const fault = verify(lines, anchors)
  assert.equal(`${fault?.kind} ${fault?.seq} at line ${fault?.line}`, expected)
  const before = lines.slice(0, (fault?.line ?? 1) - 1)
  const offset = before.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0)
  assert.equal(fault?.offset, offset)
}

describe('the verifier', () => {
  it('finds nothing in a chain as it was written, with anchors it agrees with', () => {
    assert.equal(verify(GOOD), undefined)
    assert.equal(verify(GOOD, [anchorOf(GOOD, 6), anchorOf(GOOD, 2), anchorOf(GOOD, 2)]), undefined)
    assert.equal(verify([]), undefined)
  })

  it('names a flipped byte of any record, wherever in the line it stands', () => {
    const line = GOOD[2] ?? ''
    for (let at = 0; at < line.length; at += 1) {
      const flipped = String.fromCharCode(line.charCodeAt(at) ^ 1)
      const tampered = GOOD.with(2, line.slice(0, at) + flipped + line.slice(at + 1))
      const fault = verify(tampered)
      assert.equal(fault?.line, 3, `a flip at ${at} goes unseen`)
      assert.ok(fault?.kind === 'malformed' || fault?.kind === 'changed', fault?.kind)
    }
  })

  it('names the first of the records that were dropped', () => {
    assertFault(GOOD.toSpliced(2, 1), 'missing 3 at line 3')
    assertFault(GOOD.toSpliced(0, 2), 'missing 1 at line 1')
    assert.match(verify(GOOD.toSpliced(1, 3))?.message ?? '', /records 2 to 4 are missing/)
  })

  it('names a record that was moved, or stands twice', () => {
    const [a = '', b = '', c = '', d = ''] = GOOD
    assertFault([a, c, b, d], 'reordered 2 at line 2')
    assertFault([a, b, c, b, d], 'repeated 2 at line 4')
    assertFault([a, b, b, c], 'repeated 2 at line 3')
  })

  it('names where a cut tail begins, when an anchor knows more', () => {
    assertFault(GOOD.slice(0, 4), 'shortened 5 at line 5', [anchorOf(GOOD, 6)])
    assertFault([], 'shortened 1 at line 1', [anchorOf(GOOD, 1)])
    assertFault([...GOOD.slice(0, 4), (GOOD[4] ?? '').slice(0, 50)], 'malformed 5 at line 5')
  })

  it('names a record of another writer, and one spliced in from another history', () => {
    const foreign = chain(['x', 'y', 'z'], genesis('other'))
    assertFault([...GOOD.slice(0, 1), ...foreign.slice(1)], 'foreign 2 at line 2')
    const other = chain(['a', 'b', 'C', 'd', 'e'])
    assertFault([...GOOD.slice(0, 3), ...other.slice(3)], 'forked 4 at line 4')
  })

  it('names the first anchored record of a history that was rewritten whole', () => {
    const rewritten = chain(['a', 'B', 'c', 'd', 'e', 'f', 'g'])
    assert.equal(verify(rewritten), undefined)
    assertFault(rewritten, 'forked 4 at line 4', [anchorOf(GOOD, 1), anchorOf(GOOD, 4)])
    assertFault(rewritten, 'forked 4 at line 4', [anchorOf(rewritten, 4), anchorOf(GOOD, 4)])
  })

  it('goes by anchors of the same writer only', () => {
    assert.equal(verify(GOOD, [{ ...anchorOf(GOOD, 6), writer: 'x', count: 9 }]), undefined)
  })
})

describe('a checkpoint', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = publicKey.export({ format: 'der', type: 'spki' })
  const unsigned = { writer: 'control', count: 4, head: 'a'.repeat(64), timeMs: 5 }
  const signature = sign(
    null,
    signedMessage('checkpoint', checkpointBody(unsigned)),
    privateKey,
  ).toString('base64')
  const checkpoint: AuditCheckpoint = { ...unsigned, signature }

  it('is signed over the canonical text of its other fields', () => {
    const text = `{"count":4,"head":"${'a'.repeat(64)}","timeMs":5,"writer":"control"}`
    assert.equal(Buffer.from(checkpointBody(unsigned)).toString(), text)
    assert.ok(isSignedCheckpoint(checkpoint, [Uint8Array.of(1), key]))
    assert.ok(!isSignedCheckpoint({ ...checkpoint, count: 3 }, [key]))
    assert.ok(!isSignedCheckpoint({ ...checkpoint, signature: '' }, [key]))
    assert.ok(!isSignedCheckpoint(checkpoint, []))
  })

  it('is read strictly', () => {
    assert.deepEqual(readCheckpoint({ ...checkpoint, more: 1 }), checkpoint)
    for (const wrong of [{ count: -1 }, { count: '4' }, { head: 'x' }, { signature: 1 }]) {
      assert.equal(readCheckpoint({ ...checkpoint, ...wrong }), undefined)
    }
    assert.equal(readCheckpoint(null), undefined)
  })

  it('tells its receiver of a fork and of a shortening', () => {
    const judge = (next: Partial<AuditCheckpoint>): string =>
      judgeCheckpoint(checkpoint, { ...checkpoint, timeMs: 6, ...next })
    assert.equal(judgeCheckpoint(undefined, checkpoint), 'newer')
    assert.equal(judge({ count: 5 }), 'newer')
    assert.equal(judge({}), 'known')
    assert.equal(judge({ head: 'b'.repeat(64) }), 'forked')
    assert.equal(judge({ count: 3 }), 'shortened')
    assert.equal(judge({ count: 3, timeMs: 4 }), 'known')
  })
})
