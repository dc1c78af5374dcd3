// First trust (design, "Trust"): before a password is typed, the cluster must be known by a pin — given, or remembered from an
// earlier login — or the web's PKI must vouch for the proxy that names it. Never: trust on first use.

import type { ControlTrust } from '../../control/api/trust.ts'
import { ProxyError } from '../../core/errors.ts'
import { usage } from '../command.ts'
import type { Tools } from '../tools.ts'

const PIN = /^sha256:[0-9a-f]{64}$/

/** `host:port` of the proxy; without a port 443, as browsers take it. */
export function proxyAddress(text: string): string {
  const bare = text.replace(/^https:\/\//, '').replace(/\/.*$/, '')
  if (/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):\d{1,5}$/.test(bare)) return bare
  if (/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]\s]+)$/.test(bare)) return `${bare}:443`
  throw usage(`"${text}" is not the address of a proxy`, 'Write host:port.')
}

/** What to believe in at a login: pins given, remembered, or vouched for by the web's PKI. */
export async function firstTrust(
  tools: Tools,
  proxy: string,
  given: readonly string[],
): Promise<ControlTrust> {
  const bad = given.find((pin) => !PIN.test(pin))
  if (bad !== undefined)
    throw usage(`"${bad}" is no pin`, 'A pin is sha256: and 64 hexadecimal digits.')
  if (given.length > 0) return { pins: given }
  const remembered = (await tools.profiles.read(proxy))?.pins ?? []
  if (remembered.length > 0) return { pins: remembered }
  return { pins: await webPins(tools, proxy) }
}

async function webPins(tools: Tools, proxy: string): Promise<readonly string[]> {
  const answer = await tools.webGet(proxy, '/v1/cas')
  const pins =
    typeof answer === 'object' && answer !== null && 'pins' in answer ? answer.pins : undefined
  const known = Array.isArray(pins)
    ? pins.filter((pin): pin is string => typeof pin === 'string' && PIN.test(pin))
    : []
  if (known.length > 0) return known
  throw new ProxyError('trust.unproven', `${proxy} is no Sluice proxy: it names no CA`)
}
