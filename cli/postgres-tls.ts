// TLS to a database behind the public port: SSLRequest, then a handshake in which both sides prove themselves: an agent by the
// routed name, a proxy that ends TLS by its own. Tries one proxy after the other. Never falls back to clear text, and trusts the CA
// it is given alone.

import type { Duplex } from 'node:stream'
import net from 'node:net'
import tls from 'node:tls'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { connectTo } from './connect.ts'

// SSLRequest: length 8, code 80877103 (PostgreSQL manual, "Message Formats").
const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f)
const YES = 0x53

export interface SecurePostgres {
  /** Tried in this order. `serverName`: where proxies have names of their own. */
  readonly addresses: readonly {
    readonly host: string
    readonly port: number
    readonly serverName?: string
  }[]
  /** SNI and the name the server's certificate must carry; an address is checked too, and is no SNI. */
  readonly serverName: string
  readonly ca: readonly string[]
  readonly certificate: string
  readonly key: string
}

/** A secure connection through the first proxy that works. Throws what the last one failed with. */
export async function securePostgres(options: SecurePostgres): Promise<tls.TLSSocket> {
  let failure: unknown = new ProxyError(
    'dial.failed',
    'no proxy address is known for this database',
  )
  for (const { host, port, serverName = options.serverName } of options.addresses) {
    const address = net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
    try {
      return await secure(address, serverName, options)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

async function secure(
  address: string,
  serverName: string,
  options: SecurePostgres,
): Promise<tls.TLSSocket> {
  const deadline = AbortSignal.timeout(max('handshakeDeadlineMs'))
  const raw = await connectTo(() => [address])(deadline)
  const late = (): void => void raw.destroy(new Error('no answer in time'))
  deadline.addEventListener('abort', late, { once: true })
  try {
    raw.write(SSL_REQUEST)
    await readYes(raw)
    const socket = tls.connect({
      socket: raw,
      ...(net.isIP(serverName) === 0 ? { servername: serverName } : { host: serverName }),
      ca: [...options.ca],
      cert: options.certificate,
      key: options.key,
      minVersion: 'TLSv1.3',
    })
    await event(socket, 'secureConnect')
    return socket
  } catch (cause) {
    raw.destroy()
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ProxyError('dial.failed', `cannot connect through ${address}: ${reason}`, {
      cause,
      next: nextOf(cause),
    })
  } finally {
    deadline.removeEventListener('abort', late)
  }
}

/** The proxy's alert says no more to strangers; the person may be told what it usually means. */
function nextOf(cause: unknown): string {
  const unknown =
    cause instanceof Error && 'code' in cause && String(cause.code).includes('UNRECOGNIZED_NAME')
  return unknown
    ? 'The certificate’s ticket is not accepted (any more): tsh db login NAME.'
    : 'Check the network, and whether the proxy runs.'
}

async function readYes(raw: Duplex): Promise<void> {
  const [answer] = await event(raw, 'data')
  raw.pause()
  if (!Buffer.isBuffer(answer) || answer.length !== 1 || answer[0] !== YES)
    throw new Error('the other end is no proxy that speaks PostgreSQL over TLS')
}

function event(emitter: NodeJS.EventEmitter, name: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      emitter.removeListener(name, done)
      emitter.removeListener('error', failed)
      emitter.removeListener('close', closed)
      act()
    }
    const done = (...values: unknown[]): void => settle(() => resolve(values))
    const failed = (error: Error): void => settle(() => reject(error))
    const closed = (): void => settle(() => reject(new Error('the connection was closed')))
    emitter.once(name, done).once('error', failed).once('close', closed)
  })
}
