// `tsh proxy db`: a local port for clients that cannot take name and address apart, or cannot bring a certificate.

import net from 'node:net'

import { connectTo } from '../connect.ts'
import { type CommandSpec, type Input, usage } from '../command.ts'
import { securePostgres } from '../postgres-tls.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import type { Tools } from '../tools.ts'
import {
  addressesOf,
  current,
  type DatabaseAccess,
  ensure,
  joinAddress,
  obtain,
  serverNameOf,
  type Wanted,
  worth,
} from './database.ts'
import { NAME_OPTIONS } from './db-login.ts'
import { LocalProxy } from './local-proxy.ts'
import { type Session, withLogin } from './session.ts'

export const proxyDb: CommandSpec = {
  takes: '<name>',
  options: [
    ...NAME_OPTIONS,
    { flags: '-p, --port <port>', about: 'local port; any free one when absent' },
    { flags: '--listen <host:port>', about: 'local address instead of 127.0.0.1' },
    {
      flags: '--tunnel',
      about: 'bring the certificate here: clients need none, and speak in clear',
    },
    { flags: '--insecure-listen-anywhere', about: 'allow an address others can reach' },
  ],
  about: [
    'Without --tunnel the client brings TLS and certificate of `tsh db login`. With --tunnel every process that',
    'reaches the port gets in as you. Runs until Ctrl-C.',
  ].join('\n'),
  examples: ['tsh proxy db orders --tunnel --port=5432 --db-user=reader', 'tsh proxy db orders'],
  async run(input, tools) {
    const address = listenAddress(input)
    const wanted: Wanted = {
      database: input.arg(0),
      dbUser: input.text('db-user'),
      dbName: input.text('db-name'),
    }
    await withLogin(tools, input, async (login, connect) => {
      const tunnel = input.flag('tunnel')
      const known = tunnel
        ? await current(tools, login, connect, wanted)
        : (await ensure(tools, login, connect, wanted)).access
      const access = new Access(tools, connect, wanted, known)
      const first = await access.get()
      const proxy = new LocalProxy({
        ...address,
        dial: () => dial(first),
        ...(tunnel
          ? { secure: async () => await securePostgres(secureOptions(await access.get())) }
          : {}),
        failed: (text) => tools.note(`${text}\n`),
      })
      const port = await proxy.start()
      tools.out(
        tunnel ? tunnelText(first, address.host, port) : plainText(first, address.host, port),
      )
      await tools.untilInterrupted()
      proxy.close()
    })
  },
}

/** A certificate that is always good: renewed when it ends, by the one login. */
class Access {
  readonly #obtain: () => Promise<DatabaseAccess>
  readonly #nowMs: () => number
  #held: DatabaseAccess | undefined
  #coming: Promise<DatabaseAccess> | undefined

  constructor(
    tools: Tools,
    connect: () => Promise<Session>,
    wanted: Wanted,
    known: DatabaseAccess | undefined,
  ) {
    this.#held = known
    this.#nowMs = () => tools.clock.now()
    this.#obtain = async () => await obtain(tools, await connect(), wanted)
  }

  async get(): Promise<DatabaseAccess> {
    if (this.#held !== undefined && worth(this.#held.expiresAtMs, this.#nowMs())) return this.#held
    // Clients that come together share one request.
    this.#coming ??= this.#obtain().finally(() => {
      this.#coming = undefined
    })
    this.#held = await this.#coming
    return this.#held
  }
}

function listenAddress(input: Input): { host: string; port: number } {
  const port = input.whole('port', 0, 65535)
  const text = input.text('listen')
  if (text === undefined) return { host: '127.0.0.1', port: port ?? 0 }
  if (port !== undefined) throw usage('--port or --listen, not both')
  const address = splitAddress(text)
  if (isLoopback(address.host) || input.flag('insecure-listen-anywhere')) return address
  throw usage(
    `${text} can be reached from other machines`,
    'Choose a loopback address, or say --insecure-listen-anywhere.',
  )
}

/** `127.example.com` is a name like any other. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (net.isIPv4(host) && host.startsWith('127.'))
}

/** Clients that bring TLS themselves were told one name: only proxies that go by it are dialled. */
async function dial({ settings }: DatabaseAccess): ReturnType<ReturnType<typeof connectTo>> {
  const addresses = addressesOf(settings)
    .filter(({ serverName }) => serverName === serverNameOf(settings))
    .map(({ host, port }) => joinAddress(host, port))
  return await connectTo(() => addresses)(AbortSignal.timeout(10_000))
}

function secureOptions(access: DatabaseAccess): Parameters<typeof securePostgres>[0] {
  return {
    addresses: addressesOf(access.settings),
    serverName: serverNameOf(access.settings),
    ca: [access.cas],
    certificate: access.pair.certificate,
    key: access.pair.key,
  }
}

function tunnelText({ database, settings }: DatabaseAccess, host: string, port: number): string {
  const { user, dbname } = settings
  const names = [
    ...(user === undefined ? [] : [`user=${user}`]),
    ...(dbname === undefined ? [] : [`dbname=${dbname}`]),
  ].join(' ')
  return [
    `${host}:${port} leads to the database ${database}, with your certificate. Ctrl-C ends it.`,
    '',
    `  psql "host=${host} port=${port} sslmode=disable${names === '' ? '' : ` ${names}`}"`,
    '',
  ].join('\n')
}

function plainText({ database, settings }: DatabaseAccess, host: string, port: number): string {
  const { sslrootcert = '', sslcert = '', sslkey = '' } = settings
  return [
    `${host}:${port} leads to the database ${database}; clients bring the certificate. Ctrl-C ends it.`,
    '',
    `  host=${serverNameOf(settings)}`,
    `  hostaddr=${host} port=${port} sslmode=verify-full`,
    `  sslrootcert=${sslrootcert}`,
    `  sslcert=${sslcert}`,
    `  sslkey=${sslkey}`,
    '',
    'A client without hostaddr must be told that the host name stands for this address, or use --tunnel.',
    '',
  ].join('\n')
}
