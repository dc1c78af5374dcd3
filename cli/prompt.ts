// Questions to a person. On a terminal without echo for secrets; otherwise one line of standard input per question, so that
// scripts can answer without a password in their arguments or environment, where other users of the machine could read it.

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

/** Answers from lines of a stream; questions are not printed. */
export function linePrompt(input: AsyncIterable<Uint8Array | string>): Prompt {
  const lines = readLines(input)
  const next = async (question: string): Promise<string> => {
    const line = await lines.next()
    if (line.done !== true) return line.value
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

async function* readLines(
  input: AsyncIterable<Uint8Array | string>,
): AsyncGenerator<string, undefined> {
  // A chunk may end inside a character.
  const decoder = new TextDecoder()
  let held = ''
  for await (const chunk of input) {
    held += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
    for (let end = held.indexOf('\n'); end >= 0; end = held.indexOf('\n')) {
      yield held.slice(0, end).replace(/\r$/, '')
      held = held.slice(end + 1)
    }
    if (held.length > max('answerBytesMax'))
      throw new CommandError(
        `a line of standard input is longer than ${max('answerBytesMax')} bytes`,
      )
  }
  if (held !== '') yield held
}
