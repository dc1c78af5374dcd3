// What `-L`, `-R` and `-D` of `tsh ssh` say, as OpenSSH writes it: [bind:]port:host:port, [bind:]port. An IPv6 address stands in
// brackets. Without a bind address nobody but this machine (for -R: the node) reaches the port.

import { usage } from '../command.ts'

export interface End {
  readonly host: string
  readonly port: number
}

export interface Forward {
  readonly from: End
  readonly to: End
}

const LOOPBACK = '127.0.0.1'
const PART = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*))(?::|$)/

export function readForward(text: string, option: 'L' | 'R'): Forward {
  const parts = partsOf(text)
  const [bind, port, host, hostPort] = parts?.length === 3 ? [LOOPBACK, ...parts] : (parts ?? [])
  const from = end(bind, port, option === 'R' ? 0 : 1)
  const to = end(host, hostPort, 1)
  if (parts === undefined || parts.length > 4 || from === undefined || to === undefined)
    throw usage(`-${option} ${text} is no forwarding`, `Write -${option} [bind:]port:host:port.`)
  return { from, to }
}

export function readDynamic(text: string): End {
  const parts = partsOf(text)
  const [bind, port] = parts?.length === 1 ? [LOOPBACK, ...parts] : (parts ?? [])
  const from = parts !== undefined && parts.length <= 2 ? end(bind, port, 1) : undefined
  if (from === undefined) throw usage(`-D ${text} is no port`, 'Write -D [bind:]port.')
  return from
}

function partsOf(text: string): readonly string[] | undefined {
  const parts: string[] = []
  let rest = text
  for (let more = true; more; ) {
    const found = PART.exec(rest)
    if (found === null) return undefined
    parts.push(found[1] ?? found[2] ?? '')
    more = found[0].endsWith(':')
    rest = rest.slice(found[0].length)
  }
  return rest === '' ? parts : undefined
}

/** `*` and nothing are every address, as in OpenSSH. */
function end(host: string | undefined, port: string | undefined, least: number): End | undefined {
  const number = /^\d{1,5}$/.test(port ?? '') ? Number(port) : -1
  if (host === undefined || number < least || number > 65_535) return undefined
  return { host: host === '*' ? '' : host, port: number }
}
