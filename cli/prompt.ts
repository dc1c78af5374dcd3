// Questions to a person. On a terminal without echo for secrets; otherwise one line of standard input per question, so that
// scripts can answer without a password in their arguments or environment, where other users of the machine could read it.

import type { Readable } from 'node:stream'

import { max } from '../core/limits.ts'
import { CommandError, EXIT } from './exit.ts'

export interface Prompt {
  text(question: string): Promise<string>
  secret(question: string): Promise<string>
}

export function terminalPrompt(): Prompt {
  if (!process.stdin.isTTY) return linePrompt(process.stdin)
  return {
    text: async (question) => await onTerminal('text', question),
    secret: async (question) => await onTerminal('password', question),
  }
}

/**
 * Answers from lines of a stream; questions are not printed. Between questions the stream rests, and after the last one it is left
 * alone: whoever keeps a pipe open to us does not keep us.
 */
export function linePrompt(input: Readable): Prompt {
  const lines = new Lines(input)
  const next = async (question: string): Promise<string> => {
    const line = await lines.next()
    if (line !== undefined) return line
    throw new CommandError(
      `standard input ended where an answer was expected: ${question}`,
      EXIT.usage,
      'Without a terminal each question is answered by one line of standard input.',
    )
  }
  return { text: next, secret: next }
}

async function onTerminal(kind: 'text' | 'password', question: string): Promise<string> {
  const prompts = await import('@clack/prompts')
  const options = { message: question, output: process.stderr }
  const answer =
    kind === 'text' ? await prompts.text(options) : await prompts.password({ ...options, mask: '' })
  if (typeof answer === 'string') return answer
  throw new CommandError('cancelled')
}

class Lines {
  readonly #input: Readable
  // A chunk may end inside a character.
  readonly #decoder = new TextDecoder()
  #held = ''

  constructor(input: Readable) {
    this.#input = input
  }

  /** Undefined: there are no more. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const end = this.#held.indexOf('\n')
      if (end >= 0) return this.#take(end, end + 1).replace(/\r$/, '')
      if (this.#held.length > max('answerBytesMax'))
        throw new CommandError(
          `a line of standard input is longer than ${max('answerBytesMax')} bytes`,
        )
      const chunk = await nextChunk(this.#input)
      if (chunk === undefined) return this.#held === '' ? undefined : this.#take()
      this.#held +=
        typeof chunk === 'string' ? chunk : this.#decoder.decode(chunk, { stream: true })
    }
  }

  #take(end: number = this.#held.length, next: number = end): string {
    const line = this.#held.slice(0, end)
    this.#held = this.#held.slice(next)
    return line
  }
}

/** One chunk, then the stream is paused: a stream that flows keeps the process. */
function nextChunk(input: Readable): Promise<Uint8Array | string | undefined> {
  if (input.readableEnded || input.destroyed) return Promise.resolve(undefined)
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      input.off('data', take).off('end', over).off('close', over).off('error', fail)
      input.pause()
      act()
    }
    const take = (chunk: Uint8Array | string): void => settle(() => resolve(chunk))
    const over = (): void => settle(() => resolve(undefined))
    const fail = (error: Error): void => settle(() => reject(error))
    input.on('data', take).once('end', over).once('close', over).once('error', fail)
    input.resume()
  })
}
