// Where connections come from: one key per source for budgets, and the networks whose PROXY headers are believed.
// An IPv6 source is its /64, because one machine usually has all of it; an IPv4 address in IPv6 dress is the IPv4 address.

import net from 'node:net'

import { ProxyError } from '../core/errors.ts'
import { ipv6Groups } from '../core/proxy-header.ts'

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** The address without the IPv6 dress a dual-stack listener puts on IPv4. */
export function plainAddress(address: string): string {
  return MAPPED.exec(address)?.[1] ?? address
}

/** What budgets are counted by. */
export function sourceKey(address: string): string {
  const plain = plainAddress(address)
  if (!plain.includes(':')) return plain
  const groups = ipv6Groups(plain.split('%', 1)[0] ?? '')
  // Not an address at all: one budget for all of those.
  if (groups === undefined) return '?'
  const prefix = groups.slice(0, 4).map((group) => group.toString(16))
  return `${prefix.join(':')}::/64`
}

export class Networks {
  readonly #list = new net.BlockList()
  readonly #count: number

  /** Addresses or networks (`10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`). */
  constructor(networks: readonly string[]) {
    this.#count = networks.length
    for (const network of networks) this.#add(network)
  }

  get empty(): boolean {
    return this.#count === 0
  }

  has(address: string): boolean {
    const plain = plainAddress(address)
    const family = net.isIP(plain)
    return family !== 0 && this.#list.check(plain, family === 6 ? 'ipv6' : 'ipv4')
  }

  #add(network: string): void {
    const [address = '', bits, ...more] = network.split('/')
    const family = net.isIP(address)
    const widest = family === 6 ? 128 : 32
    const prefix = bits === undefined ? widest : /^\d{1,3}$/.test(bits) ? Number(bits) : -1
    if (family === 0 || more.length > 0 || prefix < 0 || prefix > widest)
      throw new ProxyError('config.invalid', `"${network}" is not an address or a network`)
    this.#list.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4')
  }
}
