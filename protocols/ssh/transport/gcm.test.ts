import assert from 'node:assert/strict'
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'

import { GcmOpener, GcmSealer, type GcmKey } from './gcm.ts'

const KEY: GcmKey = {
  name: 'aes-128-gcm',
  key: Buffer.alloc(16, 0x11),
  // The counter is about to carry over two of its bytes.
  iv: Buffer.from('a0a1a2a3000000000000fffe', 'hex'),
  sequence: 7,
}
/** Nonces of the first packets under it, written out. */
const NONCES = [
  'a0a1a2a3000000000000fffe',
  'a0a1a2a3000000000000ffff',
  'a0a1a2a30000000000010000',
  'a0a1a2a30000000000010001',
]

/** A packet as RFC 5647, section 7.2, describes it, by a second writer. */
function packet(payload: Uint8Array, index: number, padding = paddingOf(payload)): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(1 + payload.length + padding)
  const cipher = createCipheriv('aes-128-gcm', KEY.key, Buffer.from(NONCES[index] ?? '', 'hex'))
  cipher.setAAD(length)
  const plain = Buffer.concat([Buffer.of(padding), payload, Buffer.alloc(padding, 0xee)])
  return Buffer.concat([length, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function paddingOf(payload: Uint8Array): number {
  for (let padding = 4; ; padding++) if ((1 + payload.length + padding) % 16 === 0) return padding
}

/** The plain text of a sealed packet, its padding apart. */
function opened(bytes: Buffer, index: number): { payload: Buffer; padding: number } {
  const nonce = Buffer.from(NONCES[index] ?? '', 'hex')
  const decipher = createDecipheriv('aes-128-gcm', KEY.key, nonce)
  decipher.setAAD(bytes.subarray(0, 4))
  decipher.setAuthTag(bytes.subarray(-16))
  const plain = Buffer.concat([decipher.update(bytes.subarray(4, -16)), decipher.final()])
  assert.equal(bytes.readUInt32BE(0), plain.length)
  assert.equal(plain.length % 16, 0)
  const padding = plain[0] ?? 0
  return { payload: plain.subarray(1, plain.length - padding), padding }
}

function sealed(payloads: readonly Uint8Array[]): Buffer[] {
  const packets: Buffer[] = []
  let pieces: Buffer[] = []
  const sealer = new GcmSealer(KEY, (bytes) => pieces.push(bytes))
  for (const payload of payloads) {
    const at = sealer.allocPacket(payload.length)
    at.set(payload, 5)
    sealer.encrypt(at)
    packets.push(Buffer.concat(pieces))
    pieces = []
  }
  assert.equal(sealer.outSeqno, KEY.sequence + payloads.length)
  return packets
}

const PAYLOADS = [Buffer.from('x'), randomBytes(11), randomBytes(32_780), randomBytes(4096)]

describe('packets of AES-GCM', () => {
  it('are sealed as the standard says, whatever their length', () => {
    for (const [index, bytes] of sealed(PAYLOADS).entries()) {
      const { payload, padding } = opened(bytes, index)
      assert.deepEqual(payload, PAYLOADS[index])
      assert.ok(padding >= 4)
    }
  })

  it('never share a buffer, when a second is begun before the first was sealed', () => {
    const pieces: Buffer[] = []
    const sealer = new GcmSealer(KEY, (bytes) => pieces.push(bytes))
    const [first, second] = [sealer.allocPacket(3), sealer.allocPacket(3)]
    first.set(Buffer.from('one'), 5)
    second.set(Buffer.from('two'), 5)
    sealer.encrypt(second)
    const third = sealer.allocPacket(3)
    third.set(Buffer.from('six'), 5)
    sealer.encrypt(first)
    sealer.encrypt(third)
    const said = pieces.map((piece, index) => opened(piece, index).payload.toString())
    assert.deepEqual(said, ['two', 'one', 'six'])
  })

  it('are not sealed any more once the key is freed', () => {
    const sealer = new GcmSealer(KEY, () => assert.fail('it was written'))
    const packet = sealer.allocPacket(3)
    sealer.free()
    sealer.encrypt(packet)
    assert.equal(sealer.outSeqno, KEY.sequence)
  })

  it('are opened wherever their bytes are cut', () => {
    const wanted = [Buffer.from('a'), randomBytes(60), Buffer.from('bc')]
    const all = Buffer.concat(wanted.map((payload, index) => packet(payload, index)))
    for (let cut = 0; cut <= all.length; cut++) {
      const got: Buffer[] = []
      const opener = new GcmOpener(KEY, (payload) => void got.push(payload))
      for (const part of [all.subarray(0, cut), all.subarray(cut)])
        assert.equal(opener.decrypt(Buffer.from(part), 0, part.length), undefined)
      assert.deepEqual(got, wanted, `cut at ${cut}`)
      assert.equal(opener.inSeqno, KEY.sequence + 3)
    }
    const got: Buffer[] = []
    const opener = new GcmOpener(KEY, (payload) => void got.push(payload))
    for (let at = 0; at < all.length; at++) opener.decrypt(all, at, at + 1)
    assert.deepEqual(got, wanted)
  })

  it('are opened into memory of their own, large ones in pieces too', () => {
    const wanted = [randomBytes(32_700), randomBytes(32_700), randomBytes(20_000)]
    const all = Buffer.concat(wanted.map((payload, index) => packet(payload, index)))
    const got: Buffer[] = []
    const opener = new GcmOpener(KEY, (payload) => void got.push(payload))
    for (let at = 0; at < all.length; at += 10_000) {
      const chunk = Buffer.from(all.subarray(at, at + 10_000))
      opener.decrypt(chunk, 0, chunk.length)
      chunk.fill(0)
    }
    assert.deepEqual(got, wanted)
  })

  it('stop where their receiver says, for the rest may be under another key', () => {
    const all = Buffer.concat([packet(Buffer.from('a'), 0), packet(Buffer.from('b'), 1)])
    const got: string[] = []
    const opener = new GcmOpener(KEY, (payload) => {
      got.push(payload.toString())
      return false
    })
    const next = opener.decrypt(all, 0, all.length)
    assert.equal(next, packet(Buffer.from('a'), 0).length)
    opener._onPayload = () => Number.POSITIVE_INFINITY
    assert.equal(opener.decrypt(all, Number(next), all.length), Number.POSITIVE_INFINITY)
    assert.deepEqual(got, ['a'])
  })

  it('are not believed when a bit of them is another', () => {
    const good = packet(Buffer.from('hello'), 0)
    // The length's bits make another length, which has a test of its own.
    for (let bit = 32; bit < good.length * 8; bit++) {
      const bad = Buffer.from(good)
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      let got = false
      const opener = new GcmOpener(KEY, () => {
        got = true
      })
      assert.throws(() => opener.decrypt(bad, 0, bad.length), /authenticate/, `bit ${bit}`)
      assert.equal(got, false)
    }
  })

  it('are refused by their length before anything of them is kept', () => {
    for (const length of [0, 8, 15, 17, 34_992, 0x7fff_fff0, 0xffff_fff0]) {
      const head = Buffer.alloc(4)
      head.writeUInt32BE(length)
      const opener = new GcmOpener(KEY, () => assert.fail())
      assert.throws(() => opener.decrypt(head, 0, 4), /no length there is/, `${length}`)
    }
  })

  it('are refused when their padding is too short or leaves no payload', () => {
    for (const [bytes, padding] of [
      [28, 3],
      [0, 15],
      [3, 12],
    ] as const) {
      const bad = packet(Buffer.alloc(bytes), 0, padding)
      const opener = new GcmOpener(KEY, (payload) => {
        assert.equal(payload.length, 3)
        return undefined
      })
      const open = (): unknown => opener.decrypt(bad, 0, bad.length)
      if (bytes === 3) assert.equal(open(), undefined)
      else assert.throws(open, /padded wrongly/)
    }
  })
})
