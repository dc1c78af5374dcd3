// Binds the ports that need privilege before any role is forked, and hands them over unlistened: the child calls
// listen(2), so nothing is ever accepted here. Uses the handle factory node:cluster itself uses (undocumented, one module,
// Node pinned); a port below 1024 without privilege is a clear error with the next step.

import net from 'node:net'

import { ProxyError } from '../../core/errors.ts'

/** A bound TCP handle; opaque. */
export type BoundHandle = object

interface HandleFactory {
  _createServerHandle(address: string, port: number, addressType: 4 | 6): BoundHandle | number
}

interface TcpHandle {
  readonly getsockname: (this: object, into: object) => number
  readonly close: (this: object) => void
}

/** `host:port`, `[v6]:port` or `:port` (all addresses) split into its parts. */
export function splitAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65535)
    throw new ProxyError('config.invalid', `"${text}" is not an address of the form host:port`)
  const host = match[1] ?? match[2] ?? ''
  return { host: host === '' ? '0.0.0.0' : host, port }
}

/** Binds one address. Throws a ProxyError that says what to do when the port is taken or not allowed. */
export function bind(address: string): BoundHandle {
  const { host, port } = splitAddress(address)
  const factory = net as unknown as HandleFactory
  const handle = factory._createServerHandle(host, port, net.isIPv6(host) ? 6 : 4)
  const failure = typeof handle === 'number' ? handle : lateFailure(handle)
  if (typeof handle !== 'number' && failure === 0) return handle
  throw new ProxyError('config.invalid', `cannot listen on ${address}: ${reason(failure)}`, {
    next: 'Choose another address in sluice.yaml (`web_listen_addr`, `listen_addr`), or start as root for ports below 1024.',
  })
}

/** libuv keeps "in use" to itself until somebody asks for the address or listens; a role would stumble over it. */
function lateFailure(handle: BoundHandle): number {
  const { getsockname, close } = handle as TcpHandle
  const code = getsockname.call(handle, {})
  if (code !== 0) close.call(handle)
  return code
}

function reason(code: number): string {
  const names: Readonly<Record<number, string>> = {
    [-13]: 'permission denied (EACCES)',
    [-98]: 'the port is in use (EADDRINUSE)',
    [-99]: 'this machine has no such address (EADDRNOTAVAIL)',
  }
  return names[code] ?? `system error ${-code}`
}
