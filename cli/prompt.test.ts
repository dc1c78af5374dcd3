import { equal, rejects } from 'node:assert/strict'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'

import { EXIT } from './exit.ts'
import { linePrompt } from './prompt.ts'

test('each question is answered by one line, wherever the stream is cut', async () => {
  const bytes = Buffer.from('pässword \r\n123456\nlast')
  for (let at = 0; at <= bytes.length; at++) {
    const prompt = linePrompt(Readable.from([bytes.subarray(0, at), bytes.subarray(at)]))
    equal(await prompt.secret('password'), 'pässword ')
    equal(await prompt.text('code'), '123456')
    equal(await prompt.text('more'), 'last')
  }
})

test('an answer that never comes names the question', async () => {
  const prompt = linePrompt(Readable.from(['one\n']))
  equal(await prompt.secret('Password'), 'one')
  await rejects(prompt.text('One-time code'), { status: EXIT.usage, message: /One-time code/ })
})

test('an endless line is refused', async () => {
  const endless = Readable.from(
    (function* () {
      for (;;) yield 'x'.repeat(1000)
    })(),
  )
  await rejects(linePrompt(endless).text('q'), /longer than 4096 bytes/)
})

test('a stream that stays open rests when nothing is asked, so that it keeps nobody', async () => {
  const open = new PassThrough()
  const prompt = linePrompt(open)
  open.write('first\nsecond')
  equal(await prompt.text('q'), 'first')
  equal(open.isPaused(), true)
  const second = prompt.text('q')
  open.write(' line\n')
  equal(await second, 'second line')
  equal(open.isPaused(), true)
  equal(open.listenerCount('data'), 0)
})
