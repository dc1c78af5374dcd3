// What is asked on an SSH connection (RFC 4254, OpenSSH's PROTOCOL): channels of each kind, requests of a channel and of the
// connection, read into types and written from them. A kind that is not here is undefined, which means no.

import { string, u32, type SshReader } from '../../../core/ssh/bytes.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** What a channel is for. `session` and the `direct` ones are opened by clients, the others by servers. */
export type ChannelKind =
  | { readonly kind: 'session' }
  | { readonly kind: 'direct-tcpip'; readonly to: Address; readonly from: Address }
  | { readonly kind: 'direct-streamlocal'; readonly path: string }
  | { readonly kind: 'forwarded-tcpip'; readonly to: Address; readonly from: Address }
  | { readonly kind: 'forwarded-streamlocal'; readonly path: string }
  | { readonly kind: 'auth-agent' }
  | { readonly kind: 'x11'; readonly from: Address }

/** A terminal's size; pixels are 0 when unknown. */
export interface WindowSize {
  readonly columns: number
  readonly rows: number
  readonly width: number
  readonly height: number
}

/** Requests of a session channel. A command is bytes: file names need not be UTF-8. */
export type ChannelRequest =
  | {
      readonly kind: 'pty'
      readonly term: string
      readonly size: WindowSize
      /** Encoded terminal modes, RFC 4254 section 8. */
      readonly modes: Uint8Array
    }
  | { readonly kind: 'env'; readonly name: string; readonly value: string }
  | { readonly kind: 'shell' }
  | { readonly kind: 'exec'; readonly command: Uint8Array }
  | { readonly kind: 'subsystem'; readonly name: string }
  | { readonly kind: 'window-change'; readonly size: WindowSize }
  | { readonly kind: 'signal'; readonly name: string }
  | { readonly kind: 'auth-agent' }
  | {
      readonly kind: 'x11'
      readonly single: boolean
      readonly protocol: string
      readonly cookie: string
      readonly screen: number
    }

/** How a session's program ended. */
export type Exit =
  | { readonly kind: 'status'; readonly code: number }
  | {
      readonly kind: 'signal'
      readonly name: string
      readonly core: boolean
      readonly text: string
    }

export type GlobalRequest =
  | { readonly kind: 'tcpip-forward'; readonly at: Address }
  | { readonly kind: 'cancel-tcpip-forward'; readonly at: Address }
  | { readonly kind: 'streamlocal-forward'; readonly path: string }
  | { readonly kind: 'cancel-streamlocal-forward'; readonly path: string }

const WIRE: Readonly<Record<string, string>> = {
  'direct-streamlocal': 'direct-streamlocal@openssh.com',
  'forwarded-streamlocal': 'forwarded-streamlocal@openssh.com',
  'auth-agent': 'auth-agent@openssh.com',
  'streamlocal-forward': 'streamlocal-forward@openssh.com',
  'cancel-streamlocal-forward': 'cancel-streamlocal-forward@openssh.com',
}

export function wireName(kind: string): string {
  return WIRE[kind] ?? kind
}

/** The kind of a CHANNEL_OPEN; the reader stands behind the fields that all of them have. */
export function readChannelKind(name: string, reader: SshReader): ChannelKind | undefined {
  if (name === 'session') return { kind: 'session' }
  if (name === 'auth-agent@openssh.com') return { kind: 'auth-agent' }
  if (name === 'x11') return { kind: 'x11', from: readAddress(reader) }
  if (name === 'direct-tcpip' || name === 'forwarded-tcpip') {
    const to = readAddress(reader)
    return { kind: name, to, from: readAddress(reader) }
  }
  if (name === WIRE['direct-streamlocal'] || name === WIRE['forwarded-streamlocal']) {
    const kind =
      name === WIRE['direct-streamlocal'] ? 'direct-streamlocal' : 'forwarded-streamlocal'
    const path = reader.text()
    // A reserved string, and for the direct one a reserved number.
    reader.string()
    if (kind === 'direct-streamlocal') reader.u32()
    return { kind, path }
  }
  return undefined
}

export function writeChannelKind(channel: ChannelKind): Uint8Array {
  switch (channel.kind) {
    case 'session':
    case 'auth-agent':
      return Buffer.alloc(0)
    case 'x11':
      return address(channel.from)
    case 'direct-tcpip':
    case 'forwarded-tcpip':
      return Buffer.concat([address(channel.to), address(channel.from)])
    case 'direct-streamlocal':
      return Buffer.concat([string(channel.path), string(''), u32(0)])
    case 'forwarded-streamlocal':
      return Buffer.concat([string(channel.path), string('')])
  }
}

export function readChannelRequest(name: string, reader: SshReader): ChannelRequest | undefined {
  switch (name) {
    case 'pty-req': {
      const term = reader.text()
      return { kind: 'pty', term, size: readSize(reader), modes: reader.string() }
    }
    case 'env': {
      const variable = reader.text()
      return { kind: 'env', name: variable, value: reader.text() }
    }
    case 'shell':
      return { kind: 'shell' }
    case 'exec':
      return { kind: 'exec', command: reader.string() }
    case 'subsystem':
      return { kind: 'subsystem', name: reader.text() }
    case 'window-change':
      return { kind: 'window-change', size: readSize(reader) }
    case 'signal':
      return { kind: 'signal', name: reader.text() }
    case 'auth-agent-req@openssh.com':
      return { kind: 'auth-agent' }
    case 'x11-req': {
      const single = reader.u8() !== 0
      const [protocol, cookie] = [reader.text(), reader.text()]
      return { kind: 'x11', single, protocol, cookie, screen: reader.u32() }
    }
    default:
      return undefined
  }
}

/** Name and fields of a request. */
export function writeChannelRequest(request: ChannelRequest): readonly [string, Uint8Array] {
  switch (request.kind) {
    case 'pty': {
      const fields = [string(request.term), size(request.size), string(request.modes)]
      return ['pty-req', Buffer.concat(fields)]
    }
    case 'env':
      return ['env', Buffer.concat([string(request.name), string(request.value)])]
    case 'shell':
      return ['shell', Buffer.alloc(0)]
    case 'exec':
      return ['exec', string(request.command)]
    case 'subsystem':
      return ['subsystem', string(request.name)]
    case 'window-change':
      return ['window-change', size(request.size)]
    case 'signal':
      return ['signal', string(request.name)]
    case 'auth-agent':
      return ['auth-agent-req@openssh.com', Buffer.alloc(0)]
    case 'x11': {
      const texts = [string(request.protocol), string(request.cookie)]
      const single = Uint8Array.of(request.single ? 1 : 0)
      return ['x11-req', Buffer.concat([single, ...texts, u32(request.screen)])]
    }
  }
}

export function readExit(name: string, reader: SshReader): Exit | undefined {
  if (name === 'exit-status') return { kind: 'status', code: reader.u32() }
  if (name !== 'exit-signal') return undefined
  const signal = reader.text()
  const core = reader.u8() !== 0
  return { kind: 'signal', name: signal, core, text: reader.text() }
}

export function writeExit(exit: Exit): readonly [string, Uint8Array] {
  if (exit.kind === 'status') return ['exit-status', u32(exit.code)]
  const core = Uint8Array.of(exit.core ? 1 : 0)
  const texts = [string(exit.text), string('')]
  return ['exit-signal', Buffer.concat([string(exit.name), core, ...texts])]
}

export function readGlobalRequest(name: string, reader: SshReader): GlobalRequest | undefined {
  if (name === 'tcpip-forward' || name === 'cancel-tcpip-forward')
    return { kind: name, at: readAddress(reader) }
  if (name === WIRE['streamlocal-forward'])
    return { kind: 'streamlocal-forward', path: reader.text() }
  if (name === WIRE['cancel-streamlocal-forward'])
    return { kind: 'cancel-streamlocal-forward', path: reader.text() }
  return undefined
}

export function writeGlobalRequest(request: GlobalRequest): Uint8Array {
  return 'at' in request ? address(request.at) : string(request.path)
}

function readAddress(reader: SshReader): Address {
  const host = reader.text()
  return { host, port: reader.u32() }
}

function address({ host, port }: Address): Uint8Array {
  return Buffer.concat([string(host), u32(port)])
}

function readSize(reader: SshReader): WindowSize {
  const [columns, rows] = [reader.u32(), reader.u32()]
  const [width, height] = [reader.u32(), reader.u32()]
  return { columns, rows, width, height }
}

function size({ columns, rows, width, height }: WindowSize): Uint8Array {
  return Buffer.concat([columns, rows, width, height].map(u32))
}
