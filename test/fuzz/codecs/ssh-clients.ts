// Codecs of clients of SSH: what SFTP servers answer, what programs of this machine say to a SOCKS port, private key files.
// Answers in pieces come to the same as answers in one, and no name an SFTP server gives leads out of its folder unseen.

import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'

import { Frames, readAnswer, readVersion } from '../../../cli/sftp/codec.ts'
import { folders, names, packet, status } from '../../../cli/sftp/server.fixture.ts'
import { readGreeting, readRequest } from '../../../cli/ssh/socks.ts'
import { max } from '../../../core/limits.ts'
import { string, u32 } from '../../../core/ssh/bytes.ts'
import { publicBlob } from '../../../core/ssh/key.ts'
import { readPrivateKey, writePrivateKey } from '../../../core/ssh/private-key.ts'
import { RESPONSE } from '../../../core/ssh/sftp.ts'
import type { Codec } from '../engine.ts'
import { declared } from './postgres.ts'

const PIECES = [1, 5, 64]

/** What the messages of a stream come to; the error's code at the end when there is one. */
function answersOf(bytes: Uint8Array, piece: number): string {
  const frames = new Frames()
  const seen: string[] = []
  try {
    for (let at = 0; at < bytes.length; at += piece) {
      frames.push(bytes.subarray(at, at + piece))
      for (let message = frames.next(); message !== undefined; message = frames.next()) {
        assert.ok(message.length <= max('sftpPacketBytesMax'))
        seen.push(message[0] === RESPONSE.version ? `v${readVersion(message)}` : kindOf(message))
      }
    }
  } catch (error) {
    seen.push(declared(error, 'protocol.violation'))
  }
  return seen.join(' ')
}

function kindOf(message: Uint8Array): string {
  const { answer } = readAnswer(message)
  return answer.kind === 'name' ? `name ${answer.entries.length}` : answer.kind
}

const sftpAnswers: Codec = {
  name: 'sftp-answers',
  seeds: () => [
    packet(RESPONSE.version, u32(3)),
    Buffer.concat([status(1, 0), names(2, 'a', 'ä'), folders(3, 'x')]),
    Buffer.concat([
      packet(RESPONSE.handle, u32(1), string('h')),
      packet(RESPONSE.data, u32(2), string('data')),
    ]),
    packet(RESPONSE.attrs, u32(1), u32(13), u32(0), u32(9), u32(0o100_644), u32(1), u32(2)),
  ],
  check(bytes) {
    const whole = answersOf(bytes, Math.max(1, bytes.length))
    for (const piece of PIECES) assert.equal(answersOf(bytes, piece), whole)
    return whole.slice(0, 40)
  },
}

const socks: Codec = {
  name: 'socks',
  seeds: () => [
    Uint8Array.of(5, 1, 0),
    Uint8Array.of(5, 1, 0, 1, 127, 0, 0, 1, 0, 80),
    Uint8Array.of(5, 1, 0, 3, 1, 0x61, 0, 80),
  ],
  check(bytes) {
    return [readGreeting, readRequest]
      .map((read) => {
        const reading = read(bytes)
        if (reading.verdict === 'ok') {
          assert.ok(reading.end <= bytes.length)
          // The same before its last byte is not the same.
          assert.equal(read(bytes.subarray(0, reading.end - 1)).verdict, 'more')
        }
        return reading.verdict
      })
      .join()
  },
}

const KEY_FILE = writePrivateKey(generateKeyPairSync('ed25519').privateKey, 'alice')

/** What is read is a key that is written and read again. Its own test holds it to every byte of a file. */
const privateKeys: Codec = {
  name: 'ssh-private-key',
  seeds: () => [Buffer.from(KEY_FILE)],
  check(bytes) {
    try {
      const key = readPrivateKey(Buffer.from(bytes).toString('latin1'))
      assert.deepEqual(publicBlob(readPrivateKey(writePrivateKey(key, ''))), publicBlob(key))
      return 'key'
    } catch (error) {
      return declared(error, 'cert.malformed')
    }
  },
}

export const sshClientCodecs: readonly Codec[] = [sftpAnswers, socks, privateKeys]
