// One GET over HTTPS, verified by the roots this system trusts: how a cluster nobody pinned yet is vouched for by the web's PKI.
// Bounded in time and size. Never accepts a certificate the roots do not cover, and follows no redirect.

import https from 'node:https'
import tls from 'node:tls'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { connectTo } from './connect.ts'
import { splitAddress } from './supervisor/listeners.ts'

/** The JSON behind `https://<address><path>`. Throws `trust.unproven` when the roots do not vouch for the address. */
export async function webGet(address: string, path: string): Promise<unknown> {
  const signal = AbortSignal.timeout(max('apiDeadlineMs'))
  const raw = await connectTo(() => [address])(signal)
  const { host } = splitAddress(address)
  const socket = tls.connect({
    socket: raw,
    host,
    servername: /^[\d.]+$|:/.test(host) ? '' : host,
    ca: [...tls.getCACertificates('default'), ...tls.getCACertificates('system')],
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
  })
  const text = await new Promise<string>((resolve, reject) => {
    socket.once('error', (cause) => reject(unproven(address, cause)))
    const request = https.get(
      { host, path, signal, createConnection: () => socket },
      (response) => {
        const chunks: Buffer[] = []
        let size = 0
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > max('apiReplyBytesMax')) response.destroy(new Error('the answer is too long'))
          else chunks.push(chunk)
        })
        response.once('error', reject)
        response.once('end', () =>
          response.statusCode === 200
            ? resolve(Buffer.concat(chunks).toString('utf8'))
            : reject(notSluice(address, `it answered with status ${response.statusCode}`)),
        )
      },
    )
    request.once('error', (cause) => reject(unproven(address, cause)))
  }).finally(() => socket.destroy())
  try {
    return JSON.parse(text)
  } catch {
    throw notSluice(address, 'its answer is no JSON')
  }
}

function unproven(address: string, cause: unknown): ProxyError {
  // Node adds advice about its own options behind a semicolon.
  const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/;.*$/s, '')
  return new ProxyError(
    'trust.unproven',
    `nothing vouches for the proxy at ${address}: ${reason}`,
    {
      cause,
      next: 'Give the pin of the cluster: tsh login --proxy=… --ca-pin=sha256:… (the invite shows it; an administrator sees it in `tctl status`).',
    },
  )
}

function notSluice(address: string, why: string): ProxyError {
  return new ProxyError('trust.unproven', `${address} is no Sluice proxy: ${why}`)
}
