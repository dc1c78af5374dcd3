// What a session asks of its login's helper (cli/launcher/login-helper.ts): a connection from the machine, or a listener whose connections
// come to us one by one, each on a connection of its own.

import { ProxyError } from '../core/errors.ts'
import type { Connected, Listening, Place } from '../core/ssh/machine.ts'
import type { ByteStream } from '../core/stream.ts'
import { readMessage, writeMessage } from './framed.ts'
import { type HelperAnswer, helperAnswer, type HelperRequest } from './launch-wire.ts'
import { dialLocal } from './local-socket.ts'

type ListenRequest = Exclude<HelperRequest, { readonly kind: 'connect' | 'take' }>

export interface HelperListening extends Listening {
  readonly path: string
  readonly display: string
  /** Resolves when it listens no more, whatever the reason. */
  readonly closed: Promise<void>
}

export async function helperConnect(helper: string, to: Place): Promise<ByteStream> {
  return await joined(helper, { kind: 'connect', to })
}

export async function helperListen(
  helper: string,
  request: ListenRequest,
  connected: Connected,
): Promise<HelperListening> {
  const stream = await dialLocal(helper)
  try {
    await writeMessage(stream, request)
    const answer = await ask(stream)
    if (answer.kind !== 'listening') throw unexpected()
    void accept(helper, stream, connected)
    const { port, path, display } = answer
    const close = (): void => stream.abort(new ProxyError('dial.failed', 'It listens no more.'))
    return { port, path, display, close, closed: stream.closed }
  } catch (error) {
    stream.abort(unexpected())
    throw error
  }
}

/** Comes for each connection that is told of. Ends with the listener. */
async function accept(helper: string, stream: ByteStream, connected: Connected): Promise<void> {
  try {
    for (;;) {
      const answer = await readMessage(stream, helperAnswer, 'helperMessageBytesMax')
      if (answer?.kind !== 'accepted') break
      const { key, from } = answer
      // One that is gone meanwhile, or comes too late, is no reason to listen no more.
      joined(helper, { kind: 'take', key }).then(
        (taken) => connected(taken, from),
        () => {},
      )
    }
  } catch {
    // The helper is gone.
  }
  stream.abort(new ProxyError('dial.failed', 'It listens no more.'))
}

async function joined(helper: string, request: HelperRequest): Promise<ByteStream> {
  const stream = await dialLocal(helper)
  try {
    await writeMessage(stream, request)
    const answer = await ask(stream)
    if (answer.kind !== 'open') throw unexpected()
    return stream
  } catch (error) {
    stream.abort(unexpected())
    throw error
  }
}

async function ask(stream: ByteStream): Promise<HelperAnswer> {
  const answer = await readMessage(stream, helperAnswer, 'helperMessageBytesMax')
  if (answer === undefined) throw unexpected()
  if (answer.kind === 'failed') throw new ProxyError('dial.failed', answer.reason)
  return answer
}

function unexpected(): ProxyError {
  return new ProxyError('dial.failed', 'The helper of the login ended the request.', {
    retry: true,
  })
}
