// Messages between processes of one machine: whole however they are cut, never longer than the limit, never in another form.

import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'

import { z } from 'zod'

import { errorCode } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { pair } from '../test/fixtures/sockets.ts'
import type { ByteStream } from '../core/stream.ts'
import { frame, readFrame, readMessage, writeMessage } from './framed.ts'
import { socketStream } from './socket-stream.ts'

const LIMIT = 'launchOrderBytesMax'
const form = z.strictObject({ word: z.string() })

async function joined(context: TestContext): Promise<readonly [ByteStream, ByteStream]> {
  const { outer, inner } = await pair(context)
  return [socketStream(outer), socketStream(inner)]
}

describe('a message', () => {
  it('is whole wherever it was cut, and what follows it stays on the stream', async (context) => {
    const bytes = Buffer.concat([frame(Buffer.from('{"word":"é"}')), Buffer.from('rest')])
    for (let cut = 1; cut < bytes.length - 4; cut++) {
      const [writer, reader] = await joined(context)
      const read = readMessage(reader, form, LIMIT)
      await writer.write(bytes.subarray(0, cut))
      await writer.write(bytes.subarray(cut))
      assert.deepEqual(await read, { word: 'é' })
      await writer.end()
      let rest = ''
      for (let chunk = await reader.read(); chunk !== undefined; chunk = await reader.read())
        rest += Buffer.from(chunk).toString()
      assert.equal(rest, 'rest')
    }
  })

  it('carries bytes as base64', async (context) => {
    const [writer, reader] = await joined(context)
    await writeMessage(writer, { word: Uint8Array.of(1, 2, 255), list: [Uint8Array.of(0)] })
    const body = await readFrame(reader, LIMIT)
    assert.equal(Buffer.from(body ?? []).toString(), '{"word":"AQL/","list":["AA=="]}')
  })

  it('longer than its limit is refused by its length alone', async (context) => {
    const [writer, reader] = await joined(context)
    const head = Buffer.alloc(4)
    head.writeUInt32BE(max(LIMIT) + 1)
    await writer.write(head)
    await assert.rejects(readFrame(reader, LIMIT), (error) => errorCode(error) === 'limit.exceeded')
  })

  it('of another form is refused, and none of it is repeated', async (context) => {
    for (const text of ['', '{', '[]', '{"word":7}', '{"word":"secret","more":1}']) {
      const [writer, reader] = await joined(context)
      await writer.write(frame(Buffer.from(text)))
      await assert.rejects(
        readMessage(reader, form, LIMIT),
        (error) => errorCode(error) === 'protocol.violation' && !String(error).includes('secret'),
      )
    }
  })

  it('is missing at the end of a stream, and an end inside of one is an error', async (context) => {
    const [writer, reader] = await joined(context)
    await writer.end()
    assert.equal(await readFrame(reader, LIMIT), undefined)
    for (const length of [2, 4, 6]) {
      const [cutter, cut] = await joined(context)
      await cutter.write(frame(Buffer.from('abc')).subarray(0, length))
      await cutter.end()
      await assert.rejects(readFrame(cut, LIMIT), /ended inside a message/)
    }
  })
})
