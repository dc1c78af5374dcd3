// A database behind a public port, for tests of clients: SSLRequest, TLS with a certificate of a target CA, start-up, then answers
// from a function. Messages are written here by hand, so that a client is not tested against its own writer.

import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import tls from 'node:tls'

import { OID } from '../core/cert/oid.ts'
import { writePem } from '../core/cert/pem.ts'
import { systemIdentity, testCa, userIdentity } from '../test/fixtures/certificates.ts'
import { atEnd, type Cleanup } from '../test/fixtures/files.ts'
import { listen, readBytes } from '../test/fixtures/net.ts'
import { type PemPair, pemPair } from '../test/fixtures/tls.ts'

export const SERVER_NAME = 'ticket.orders.db.sluice.test'

/** What a client needs: CA, name, and a pair of its own. */
export interface Pki {
  readonly ca: string
  readonly client: PemPair
  readonly server: PemPair
}

export function makePki(serverName: string = SERVER_NAME): Pki {
  const nowMs = Date.now()
  const target = testCa('target CA', nowMs)
  const names =
    net.isIP(serverName) === 0 ? { dnsNames: [serverName] } : { ipAddresses: [serverName] }
  return {
    ca: writePem('CERTIFICATE', target.der),
    server: pemPair(target, systemIdentity('agent'), nowMs, {
      extend: { ...names, extendedKeyUsage: [OID.serverAuth] },
    }),
    client: pemPair(testCa('user CA', nowMs), userIdentity(), nowMs),
  }
}

export interface FakePostgresOptions {
  readonly pki: Pki
  /** Bytes answered to the start-up message; the usual greeting when absent. */
  readonly greet?: (parameters: ReadonlyMap<string, string>) => Buffer
  /** Bytes answered to each query. */
  readonly answer?: (sql: string) => Buffer
  /** Hangs up after the first answer. */
  readonly once?: boolean
  /** Writes one byte at a time. */
  readonly slowly?: boolean
}

export interface FakePostgres {
  readonly port: number
  /** Server names clients asked for. */
  readonly names: string[]
  readonly startups: ReadonlyMap<string, string>[]
  /** Common names of certificates clients showed; empty text for none. */
  readonly certificates: string[]
  /** Start-up packets that came outside TLS (cancel requests). */
  readonly clear: Buffer[]
}

export async function fakePostgres(
  cleanup: Cleanup,
  options: FakePostgresOptions,
): Promise<FakePostgres> {
  const names: string[] = []
  const startups: ReadonlyMap<string, string>[] = []
  const certificates: string[] = []
  const clear: Buffer[] = []
  const { certificate, key } = options.pki.server
  const server = tls.createServer({
    cert: certificate,
    key,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  })
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    names.push(typeof socket.servername === 'string' ? socket.servername : '')
    certificates.push(socket.getPeerX509Certificate()?.subject ?? '')
    void serve(socket, options, startups)
  })
  server.on('tlsClientError', () => {})
  atEnd(cleanup, () => void server.close())
  const { port } = await listen(cleanup, (socket) => {
    socket.on('error', () => {})
    void begin(socket, server, clear)
  })
  return { port, names, startups, certificates, clear }
}

async function begin(socket: Socket, server: tls.Server, clear: Buffer[]): Promise<void> {
  const head = await readBytes(socket, 8).catch(() => undefined)
  if (head === undefined) return
  if (head.readUInt32BE(4) !== 80877103) {
    const rest = await readBytes(socket, head.readUInt32BE(0) - 8)
    clear.push(Buffer.concat([head, rest]))
    socket.end()
    return
  }
  socket.write('S')
  server.emit('connection', socket)
}

async function serve(
  socket: tls.TLSSocket,
  {
    greet = greeting,
    answer = () => selectOne(),
    slowly = false,
    once: hangUp = false,
  }: FakePostgresOptions,
  startups: ReadonlyMap<string, string>[],
): Promise<void> {
  const send = (bytes: Buffer): void => {
    if (slowly) for (const byte of bytes) socket.write(Uint8Array.of(byte))
    else socket.write(bytes)
  }
  let held = Buffer.alloc(0)
  let started = false
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    for (;;) {
      const head = started ? 1 : 0
      if (held.length < head + 4) return
      const end = head + held.readUInt32BE(head)
      if (held.length < end) return
      const code = started ? String.fromCharCode(held[0] ?? 0) : ''
      const body = held.subarray(head + 4, end)
      held = held.subarray(end)
      if (code === '') {
        started = true
        const parameters = startupParameters(body)
        startups.push(parameters)
        send(greet(parameters))
      } else if (code === 'Q') {
        send(answer(body.toString('utf8', 0, body.length - 1)))
        if (hangUp) socket.end()
      } else if (code === 'X') socket.end()
    }
  })
  await once(socket, 'close')
}

function startupParameters(body: Buffer): ReadonlyMap<string, string> {
  const words = body.toString('utf8', 4).split('\0')
  const pairs: [string, string][] = []
  for (let at = 0; at + 1 < words.length && words[at] !== ''; at += 2)
    pairs.push([words[at] ?? '', words[at + 1] ?? ''])
  return new Map(pairs)
}

/** One message: code letter, length of itself and the body, body. */
export function message(code: string, ...parts: readonly (string | Buffer)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length + 4)
  return Buffer.concat([Buffer.from(code), length, body])
}

/** AuthenticationOk, one ParameterStatus, BackendKeyData, ReadyForQuery. */
export function greeting(): Buffer {
  return Buffer.concat([
    message('R', Buffer.from([0, 0, 0, 0])),
    message('S', 'server_version\x0018\x00'),
    message('K', Buffer.alloc(8, 1)),
    ready(),
  ])
}

export function ready(): Buffer {
  return message('Z', 'I')
}

/** RowDescription of text columns. */
export function columns(...names: readonly string[]): Buffer {
  return message(
    'T',
    int16(names.length),
    ...names.flatMap((name) => [`${name}\0`, Buffer.alloc(18)]),
  )
}

/** DataRow; null is length −1. */
export function row(...cells: readonly (string | null)[]): Buffer {
  const parts = cells.flatMap((cell) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(cell === null ? -1 : Buffer.byteLength(cell))
    return cell === null ? [length] : [length, Buffer.from(cell)]
  })
  return message('D', int16(cells.length), ...parts)
}

export function complete(tag: string): Buffer {
  return message('C', `${tag}\0`)
}

/** ErrorResponse from `Severity`-like fields by their letters. */
export function errorResponse(fields: Readonly<Record<string, string>>): Buffer {
  return message('E', ...Object.entries(fields).map(([letter, text]) => `${letter}${text}\0`), '\0')
}

export function selectOne(): Buffer {
  return Buffer.concat([columns('one'), row('1'), complete('SELECT 1'), ready()])
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
