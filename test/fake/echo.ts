// A streaming protocol, the smallest that uses its host: `HI user resource`, then bytes both ways. It stands where SSH and HTTP
// will, so that the clauses for streams are run before the first of them exists.

import type { TargetRef } from '../../core/identity.ts'
import type { Host, Recognition, Refusal, StreamingProtocol } from '../../core/protocol.ts'
import type { ByteStream } from '../../core/stream.ts'

const MAGIC = Buffer.from('HI ')
const HELLO_BYTES_MAX = 256

export const echo: StreamingProtocol = {
  name: 'echo',
  shape: 'streaming',
  kind: 'app',
  alpn: ['echo'],
  defaultPort: 7,
  recognise,
  session: serve,
}

function recognise(first: Uint8Array): Recognition {
  const same = MAGIC.subarray(0, first.length).equals(first.subarray(0, MAGIC.length))
  if (!same) return { verdict: 'no' }
  return { verdict: first.length < MAGIC.length ? 'more' : 'mine' }
}

async function serve(
  client: ByteStream,
  start: { stage: string; target?: TargetRef },
  host: Host,
  signal: AbortSignal,
): Promise<void> {
  let target: ByteStream | undefined
  const abort = (): void => {
    const refusal = signal.reason as Refusal
    target?.abort(new Error(refusal.reason))
    // Not aborted: that would drop the words. Whoever gave the stream waits no longer than its own deadline.
    void say(client, refusal).catch(() => undefined)
  }
  signal.addEventListener('abort', abort)
  try {
    const secured = await host.upgradeTls(client, 'client')
    const hello = await readHello(secured.stream)
    const [principal, resource] = hello.trim().split(' ').slice(1)
    if (!secured.peer || !principal || !resource || !start.target) return await secured.stream.end()
    const access = { target: start.target, principal, resource }
    const right = await host.authorize(secured.peer, access)
    if (signal.aborted) return
    if ('reason' in right) return await say(secured.stream, right)
    target = await host.dial(right, signal)
    if (signal.aborted) return target.abort(new Error('ended while it was dialled'))
    await Promise.all([copy(secured.stream, target), copy(target, secured.stream)])
  } catch (error) {
    const cause = new Error('a side failed', { cause: error })
    target?.abort(cause)
    if (!signal.aborted) client.abort(cause)
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

async function say(client: ByteStream, refusal: Refusal): Promise<void> {
  await client.write(Buffer.from(`NO ${refusal.decisionId}\n`))
  await client.end()
}

async function readHello(client: ByteStream): Promise<string> {
  let hello = Buffer.alloc(0)
  for (;;) {
    const newline = hello.indexOf('\n')
    if (newline >= 0) {
      if (newline + 1 < hello.length) client.unread(hello.subarray(newline + 1))
      return hello.toString('utf8', 0, newline)
    }
    const chunk = await client.read()
    if (chunk === undefined || hello.length + chunk.length > HELLO_BYTES_MAX) return ''
    hello = Buffer.concat([hello, chunk])
  }
}

async function copy(from: ByteStream, to: ByteStream): Promise<void> {
  for (;;) {
    const chunk = await from.read()
    if (chunk === undefined) return to.end()
    await to.write(chunk)
  }
}
