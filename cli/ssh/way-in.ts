// The way to a node's SSH through the public port (core/ssh/way-in.ts): TLS with ALPN `sluice-ssh` and the login's certificate, one
// line that names the node, one that answers. Tries one proxy after the other until one can be spoken to; what that one says holds.
// Trusts the cluster's host CAs alone. The bytes that follow are the node's own SSH: this file reads none of them.

import net from 'node:net'
import tls from 'node:tls'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { readWayInAnswer, SSH_ALPN, type WayInAnswer, writeWanted } from '../../core/ssh/way-in.ts'
import { connectTo } from '../connect.ts'
import { CommandError, EXIT } from '../exit.ts'
import type { KeyPair } from '../profile.ts'
import { printable } from '../render.ts'
import { splitAddress } from '../supervisor/listeners.ts'

export interface WayIn {
  /** `host:port`, tried in this order. */
  readonly proxies: readonly string[]
  /** The cluster's host CAs, PEM. */
  readonly cas: string
  readonly pair: KeyPair
  /** As the proxy is asked for it. */
  readonly node: string
}

/** A connection whose next byte is the node's SSH. Throws what the last proxy failed with, or the refusal of the first that answered. */
export async function openWayIn(wanted: WayIn): Promise<tls.TLSSocket> {
  const line = wantedLine(wanted.node)
  let failure: unknown = new ProxyError('dial.failed', 'no address of a proxy is known')
  for (const address of wanted.proxies) {
    try {
      const { socket, answer } = await ask(address, line, wanted)
      if (answer.open) return socket
      socket.destroy()
      throw refused(address, answer)
    } catch (error) {
      if (error instanceof CommandError) throw error
      failure = error
    }
  }
  throw failure
}

function wantedLine(node: string): Uint8Array {
  try {
    return writeWanted(node)
  } catch {
    const message = `"${printable(node)}" cannot be the name of a node`
    throw new CommandError(message, EXIT.usage, 'See the names with: tsh ls')
  }
}

async function ask(
  address: string,
  line: Uint8Array,
  { cas, pair }: WayIn,
): Promise<{ socket: tls.TLSSocket; answer: WayInAnswer }> {
  const { host } = splitAddress(address)
  const deadline = AbortSignal.timeout(max('handshakeDeadlineMs'))
  const raw = await connectTo(() => [address])(deadline)
  // TLS takes it from here; without it, the end of our bytes would be the end of the node's.
  raw.allowHalfOpen = true
  const socket = tls.connect({
    socket: raw,
    ...(net.isIP(host) === 0 ? { servername: host } : { host }),
    ALPNProtocols: [SSH_ALPN],
    ca: cas,
    cert: pair.certificate,
    key: pair.key,
    minVersion: 'TLSv1.3',
  })
  try {
    return { socket, answer: await converse(socket, line, deadline) }
  } catch (cause) {
    socket.destroy()
    raw.destroy()
    throw failed(address, cause)
  }
}

/** Sends the line and reads the answer; what comes behind it is put back. */
function converse(
  socket: tls.TLSSocket,
  line: Uint8Array,
  deadline: AbortSignal,
): Promise<WayInAnswer> {
  return new Promise((resolve, reject) => {
    let held: Buffer = Buffer.alloc(0)
    const settle = (act: () => void): void => {
      socket.off('readable', take).off('error', fail).off('close', gone).off('end', gone)
      deadline.removeEventListener('abort', late)
      // The owner listens from now on; an error in between must not end the process.
      socket.on('error', () => {})
      act()
    }
    const fail = (error: Error): void => settle(() => reject(error))
    const gone = (): void => fail(new Error('it closed the connection'))
    const late = (): void => fail(new Error('it did not answer in time'))
    const take = (): void => {
      for (let chunk = read(socket); chunk !== null; chunk = read(socket)) {
        held = Buffer.concat([held, chunk])
        const reading = readWayInAnswer(held)
        if (reading.verdict === 'more') continue
        if (reading.verdict === 'bad') return fail(new Error('it answers otherwise than a proxy'))
        settle(() => {
          if (held.length > reading.end) socket.unshift(held.subarray(reading.end))
          resolve(reading.value)
        })
        return
      }
    }
    socket.on('readable', take).once('error', fail).once('close', gone).once('end', gone)
    deadline.addEventListener('abort', late, { once: true })
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol === SSH_ALPN) socket.write(line)
      else fail(new Error('it does not speak SSH for Sluice (ALPN sluice-ssh)'))
    })
  })
}

function read(socket: tls.TLSSocket): Buffer | null {
  return socket.read() as Buffer | null
}

/** What the proxy says is for the person: it names the layer itself. */
function refused(address: string, { away, sentence }: Closed): CommandError {
  const message = `the proxy at ${address} does not open the way: ${printable(sentence)}`
  // What to do about a node that is away, the sentence says.
  if (away) return new CommandError(message, EXIT.unreachable)
  return new CommandError(message, EXIT.denied, 'See what your roles let you reach with: tsh ls')
}

type Closed = Extract<WayInAnswer, { readonly open: false }>

function failed(address: string, cause: unknown): ProxyError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new ProxyError('dial.failed', `no way in through the proxy at ${address}: ${reason}`, {
    cause,
    retry: true,
    next: nextOf(cause),
  })
}

function nextOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  if (/ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/.test(code))
    return 'The proxy does not accept the login: tsh login'
  if (/^(UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|CERT_|ERR_TLS_CERT)/.test(code))
    return 'The proxy did not prove to be of this cluster. Check --proxy; tsh login learns new CAs.'
  return 'Check the network, and whether the proxy runs.'
}
