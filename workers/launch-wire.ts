// What an agent says to the launcher, to the process that holds terminals and to the helper of a login, and what they answer: one
// connection for each thing, a request first (workers/framed.ts). Afterwards the connection is the thing itself: bytes of a stream, or
// orders about a program. Bytes in messages are base64. Forms only; nothing here opens anything.

import path from 'node:path'

import { z } from 'zod'

import { max } from '../core/limits.ts'
import type { Exit, Place, ProgramKind, WindowSize } from '../core/ssh/machine.ts'

/** Where the launcher and its processes listen, below one folder. */
export interface LaunchPaths {
  /** Only the agent may enter; the launcher's socket and those of single programs are in it. */
  readonly agent: string
  readonly launcher: string
  /** The agent's own: terminals are opened under its uid. */
  readonly terminals: string
  readonly terminal: string
  /** One folder for the helper of each login. */
  readonly logins: string
}

export function launchPaths(folder: string): LaunchPaths {
  const agent = path.join(folder, 'agent')
  const terminals = path.join(folder, 'terminals')
  return {
    agent,
    launcher: path.join(agent, 'launcher.sock'),
    terminals,
    terminal: path.join(terminals, 'terminal.sock'),
    logins: path.join(folder, 'logins'),
  }
}

/** A host and a port as they were seen; a host of '' is unknown. */
export interface WireEnd {
  readonly host: string
  readonly port: number
}

/** Who wants something: the certificate that was shown, and the session it was shown for. The launcher believes the certificate alone. */
export interface LaunchAsk {
  readonly certificate: Uint8Array
  readonly login: string
  readonly client: WireEnd
  readonly server: WireEnd
  readonly node: {
    readonly name: string
    /** Locks and programs know it. */
    readonly agentId: string
    readonly labels: Readonly<Record<string, string>>
  }
  readonly sessionId: string
  /** The proxy that ends the client's SSH, with control's permit for it (core/permit.ts). Absent: the agent does. */
  readonly proxy?: { readonly id: string; readonly permit: Uint8Array } | undefined
  /** Public address of the proxy, for the program's environment; empty when unknown. */
  readonly webProxy: string
}

export type LaunchRequest =
  | ProgramLaunch
  /** Somebody to open things as the login; lives as long as this connection. */
  | { readonly kind: 'helper'; readonly ask: LaunchAsk }
  /** Signed messages of control follow (signed-frame.ts). The signers count once, while none are known. */
  | { readonly kind: 'trust'; readonly signers: readonly Uint8Array[] }

export interface ProgramLaunch {
  readonly kind: 'program'
  readonly ask: LaunchAsk
  readonly program: ProgramKind
  readonly env: Readonly<Record<string, string>>
  /** The terminal's path, as the process that holds it named it, and its TERM. */
  readonly terminal?: { readonly path: string; readonly term: string } | undefined
}

/** Of a program that runs. The end of the connection hangs it up. */
export interface LaunchOrder {
  readonly kind: 'signal'
  readonly name: string
}

export type LaunchAnswer =
  | { readonly kind: 'refused'; readonly reason: string }
  /** Connect there three times: for input, output and errors. */
  | { readonly kind: 'streams'; readonly path: string }
  | { readonly kind: 'started' }
  | { readonly kind: 'exit'; readonly exit: Exit }
  | { readonly kind: 'helper'; readonly path: string }

/** First words on a connection to the helper of a login. */
export type HelperRequest =
  | { readonly kind: 'connect'; readonly to: Place }
  /** These three listen as long as the connection lasts. */
  | { readonly kind: 'listen'; readonly at: Place }
  | { readonly kind: 'agent' }
  | {
      readonly kind: 'x11'
      readonly protocol: string
      readonly cookie: string
      readonly screen: number
    }
  | Take

/** The rest of this connection is the one that the key was told for. */
export interface Take {
  readonly kind: 'take'
  readonly key: string
}

export type HelperAnswer =
  | { readonly kind: 'failed'; readonly reason: string }
  /** Bytes follow, both ways. */
  | { readonly kind: 'open' }
  | {
      readonly kind: 'listening'
      readonly port: number
      readonly path: string
      readonly display: string
    }
  | { readonly kind: 'accepted'; readonly key: string; readonly from: WireEnd }

/** First words on a connection to the process that holds terminals. */
export type TerminalRequest =
  | { readonly kind: 'open'; readonly size: WindowSize; readonly modes: Uint8Array }
  | Take

/** About an open terminal. The end of the connection hangs it up. */
export type TerminalOrder =
  /** The program has it: its output may be read. */
  | { readonly kind: 'started' }
  | { readonly kind: 'resize'; readonly size: WindowSize }
  /** The program ended: what is there is still said. */
  | { readonly kind: 'ended' }

export type TerminalAnswer =
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'terminal'; readonly path: string; readonly key: string }
  | { readonly kind: 'open' }

const base64 = z.base64().transform((value): Uint8Array => Buffer.from(value, 'base64'))
const name = z.string().min(1).max(max('nameLengthMax'))
/** Names and paths of the file system and of DNS, sentences. */
const text = z.string().max(4096)
const port = z.int().min(0).max(65_535)
const host = z.string().max(max('dnsNameLengthMax'))
const end = z.strictObject({ host, port })
const cells = z.int().min(0).max(65_535)
const size = z.strictObject({ columns: cells, rows: cells, width: cells, height: cells })
const take = z.strictObject({ kind: z.literal('take'), key: z.string().length(32) })

const ask = z.strictObject({
  certificate: base64,
  login: name,
  client: end,
  server: end,
  node: z.strictObject({
    name,
    agentId: name,
    labels: z
      .record(z.string(), z.string())
      .refine((labels) => Object.keys(labels).length <= max('launchLabelsMax')),
  }),
  proxy: z.strictObject({ id: name, permit: base64 }).optional(),
  sessionId: z.string().max(max('nameLengthMax')),
  webProxy: host,
})

const program = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('shell') }),
  z.strictObject({ kind: z.literal('exec'), command: base64 }),
  z.strictObject({ kind: z.literal('subsystem'), name: z.literal('sftp') }),
])

export const launchRequest: z.ZodType<LaunchRequest> = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('program'),
    ask,
    program,
    env: z.record(z.string(), z.string()),
    terminal: z.strictObject({ path: text, term: z.string().max(max('nameLengthMax')) }).optional(),
  }),
  z.strictObject({ kind: z.literal('helper'), ask }),
  z.strictObject({ kind: z.literal('trust'), signers: z.array(base64).max(64) }),
])

export const launchOrder: z.ZodType<LaunchOrder> = z.strictObject({
  kind: z.literal('signal'),
  name,
})

const exit = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('status'), code: z.int() }),
  z.strictObject({ kind: z.literal('signal'), name, core: z.boolean(), text }),
])

export const launchAnswer: z.ZodType<LaunchAnswer> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('refused'), reason: text }),
  z.strictObject({ kind: z.literal('streams'), path: text }),
  z.strictObject({ kind: z.literal('started') }),
  z.strictObject({ kind: z.literal('exit'), exit }),
  z.strictObject({ kind: z.literal('helper'), path: text }),
])

const place = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('tcp'), host, port }),
  z.strictObject({ kind: z.literal('unix'), path: text }),
])

export const helperRequest: z.ZodType<HelperRequest> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('connect'), to: place }),
  z.strictObject({ kind: z.literal('listen'), at: place }),
  z.strictObject({ kind: z.literal('agent') }),
  z.strictObject({
    kind: z.literal('x11'),
    protocol: z.string().regex(/^[A-Za-z0-9-]{1,64}$/),
    cookie: z.string().regex(/^([0-9a-fA-F]{2}){1,64}$/),
    screen: z.int().min(0).max(255),
  }),
  take,
])

export const helperAnswer: z.ZodType<HelperAnswer> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('failed'), reason: text }),
  z.strictObject({ kind: z.literal('open') }),
  z.strictObject({ kind: z.literal('listening'), port, path: text, display: text }),
  z.strictObject({ kind: z.literal('accepted'), key: take.shape.key, from: end }),
])

export const terminalRequest: z.ZodType<TerminalRequest> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('open'), size, modes: base64 }),
  take,
])

export const terminalOrder: z.ZodType<TerminalOrder> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('started') }),
  z.strictObject({ kind: z.literal('resize'), size }),
  z.strictObject({ kind: z.literal('ended') }),
])

export const terminalAnswer: z.ZodType<TerminalAnswer> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('failed'), reason: text }),
  z.strictObject({ kind: z.literal('terminal'), path: text, key: take.shape.key }),
  z.strictObject({ kind: z.literal('open') }),
])
