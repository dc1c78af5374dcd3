// Opens the connection to a target. An address of the agent's own file is dialled as it stands. One that came from a resource is
// resolved once, and only what was judged is dialled: loopback, link-local and metadata addresses are refused unless the agent's
// file allows them, ports of our own always. Sends nothing.

import { lookup } from 'node:dns/promises'
import net from 'node:net'
import os from 'node:os'

import { ProxyError } from '../core/errors.ts'
import type { AgentTarget, DialGuard } from '../core/agent-target.ts'
import { Networks, plainAddress } from './source.ts'

export type DialledTarget = Pick<AgentTarget, 'ref' | 'host' | 'port' | 'guard'>

/** What a guarded dial depends on beside the network; tests put their own in. */
export interface DialWorld {
  resolve(host: string): Promise<readonly string[]>
  /** Addresses of this machine. */
  ownAddresses(): readonly string[]
}

const WORLD: DialWorld = {
  resolve: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
  ownAddresses: () =>
    Object.values(os.networkInterfaces()).flatMap((each) =>
      (each ?? []).map(({ address }) => address),
    ),
}

/** Loopback, unspecified, link-local, multicast, and the metadata services that clouds keep elsewhere. */
const CLOSED = new Networks([
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '255.255.255.255',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  '::/128',
  '::1/128',
  'fe80::/10',
  'ff00::/8',
  'fd00:ec2::254',
])
const LOOPBACK = new Networks(['0.0.0.0/8', '127.0.0.0/8', '::/128', '::1/128'])

/** Rejects with `dial.failed`, also when `signal` aborts. */
export async function dialTarget(
  target: DialledTarget,
  signal: AbortSignal,
  world: DialWorld = WORLD,
): Promise<net.Socket> {
  const { host, port, guard } = target
  if (guard === undefined) return await connect(target, host, signal)
  const [first, ...others] = await addressesOf(target, guard, signal, world)
  if (first === undefined) throw failed(target, `no address is known for ${host}`)
  try {
    return await connect(target, first, signal)
  } catch (error) {
    for (const address of others) {
      const socket = await connect({ ...target, port }, address, signal).catch(() => undefined)
      if (socket !== undefined) return socket
    }
    throw error
  }
}

/** Why a resource may not name this address; undefined when it may. */
export function addressProblem(
  address: string,
  port: number,
  guard: DialGuard,
  ownAddresses: readonly string[],
): string | undefined {
  const plain = plainAddress(address)
  const onThisMachine = LOOPBACK.has(plain) || ownAddresses.includes(plain)
  if (onThisMachine && guard.ownPorts.includes(port)) return 'it is a port of Sluice’s own'
  const named = net.isIPv6(plain) ? `[${plain}]:${port}` : `${plain}:${port}`
  if (guard.ownAddresses.includes(named)) return 'it is a port of Sluice’s own'
  if (!CLOSED.has(plain) || new Networks(guard.allowed).has(plain)) return undefined
  const kind = 'a loopback, link-local or metadata address'
  return `it is ${kind}, which ${guard.section}.resources_may_dial of ${hostOf(guard)} does not list`
}

/** Those that may be dialled; when there is none, says what is wrong with the first. */
async function addressesOf(
  target: DialledTarget,
  guard: DialGuard,
  signal: AbortSignal,
  world: DialWorld,
): Promise<readonly string[]> {
  const { host, port } = target
  if (guard.ownAddresses.includes(`${host}:${port}`))
    throw failed(target, `${host}:${port} is refused: it is a port of Sluice’s own`)
  const found = net.isIP(host) === 0 ? await resolved(target, signal, world) : [host]
  const own = world.ownAddresses()
  const judged = found.map((address) => ({
    address,
    problem: addressProblem(address, port, guard, own),
  }))
  const good = judged.filter(({ problem }) => problem === undefined)
  const [bad] = judged
  if (good.length === 0 && bad !== undefined)
    throw failed(target, `${bad.address}:${port} is refused: ${bad.problem ?? ''}`)
  return good.map(({ address }) => address)
}

async function resolved(
  target: DialledTarget,
  signal: AbortSignal,
  world: DialWorld,
): Promise<readonly string[]> {
  const aborted = Promise.withResolvers<never>()
  const abort = (): void => aborted.reject(failed(target, 'its name was not resolved in time'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    if (signal.aborted) abort()
    return await Promise.race([world.resolve(target.host), aborted.promise])
  } catch (error) {
    throw error instanceof ProxyError ? error : failed(target, messageOf(error))
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function connect(target: DialledTarget, host: string, signal: AbortSignal): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port: target.port, allowHalfOpen: true, noDelay: true })
    const fail = (reason: string): void => {
      signal.removeEventListener('abort', aborted)
      socket.destroy()
      reject(failed(target, reason))
    }
    const refused = (error: Error): void => fail(messageOf(error))
    const aborted = (): void => fail('no answer in time')
    signal.addEventListener('abort', aborted, { once: true })
    socket.once('error', refused)
    socket.once('connect', () => {
      signal.removeEventListener('abort', aborted)
      socket.removeListener('error', refused)
      // The performer listens from the next turn on.
      socket.on('error', () => {})
      resolve(socket)
    })
    if (signal.aborted) aborted()
  })
}

/** Several addresses that all fail make an error without words of its own. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError)
    return error.errors.map((each: unknown) => messageOf(each)).join('; ')
  return error instanceof Error ? error.message : String(error)
}

/** Who dials. */
function hostOf(guard: DialGuard | undefined): string {
  return guard?.section === 'proxy_service' ? 'this proxy' : 'its agent'
}

function failed({ ref, guard }: DialledTarget, reason: string): ProxyError {
  const from = hostOf(guard)
  return new ProxyError('dial.failed', `${ref.name} cannot be reached from ${from}: ${reason}`, {
    side: 'target',
    detail: reason,
  })
}
