// What an SSH session asks of its thread beyond what every streaming session may (`Host` of core/protocol.ts). Types only.

import type { KeyObject } from 'node:crypto'

import type { Authorized } from '../login.ts'
import type { Refusal } from '../protocol.ts'
import type { ByteStream } from '../stream.ts'
import type { Machine } from './machine.ts'

/** A private key with its SSH certificate. */
export interface SshKeyPair {
  /** The certificate, wire bytes. */
  readonly certificate: Uint8Array
  readonly key: KeyObject
}

/** Another SSH server that does the session's work: an agent of ours, or a stock sshd. */
export interface SshServerAccess {
  readonly kind: 'server'
  readonly stream: ByteStream
  /** Undefined: it knows the client already (a forwarded identity), and is asked to let us in without a proof. */
  readonly key: SshKeyPair | undefined
  /** Blobs of the CAs that may have certified its host key. */
  readonly hostCas: readonly Uint8Array[]
  /** The principal its host certificate must have. */
  readonly hostName: string
}

/** This machine, as one login. */
export interface SshMachineAccess {
  readonly kind: 'machine'
  readonly machine: Machine
}

export type SshTargetAccess = SshServerAccess | SshMachineAccess

export interface SshSessionTimers {
  /** Runs `action` once after `ms`; the result cancels it. */
  after(ms: number, action: () => void): () => void
}

/** Somebody the thread knows before the first byte of SSH: forwarded by a proxy (the agent's end of proxy mode). */
export interface ForwardedClient {
  /** Wire bytes of the SSH certificate that was shown to the proxy. */
  readonly certificate: Uint8Array
}

/** What a machine's own configuration forbids everybody, whatever their roles say. */
export interface NodeSwitches {
  readonly fileCopy: boolean
  readonly portForwarding: boolean
  readonly x11: boolean
}

export interface SshServices {
  /** Absent: nothing is forbidden here. */
  readonly switches?: NodeSwitches
  /** Deadlines of the connection (keys, keepalives); the deadlines of the right are the thread's, and come by the session's signal. */
  readonly timers: SshSessionTimers
  /** Variables of the session for its programs, which no client sets: SSH_CONNECTION, SSH_TELEPORT_HOST_UUID. */
  readonly environment: Readonly<Record<string, string>>
  /**
   * Events told through `Host.audit` are more than may wait: resolves when they are fewer. Undefined: go on. Sessions await it
   * before the bytes pass of which an event told.
   */
  auditRoom(): Promise<void> | undefined
  /** What is shown to clients; at least one. */
  readonly hostKeys: readonly SshKeyPair[]
  /** Absent: clients prove themselves here. */
  readonly forwarded?: ForwardedClient
  /** Shown before authentication. */
  readonly banner?: string
  /** Where the holder of the right does its work. Rejects with a sentence for the person. */
  reach(right: Authorized, signal: AbortSignal): Promise<SshTargetAccess>
  /**
   * The recorder of one terminal; absent: sessions of this thread are not recorded (mode, or the other end does). A refusal: it may
   * not begin unrecorded.
   */
  record(right: Authorized, start: TerminalStart): TerminalRecorder | Refusal | undefined
}

/** A node that somebody may know of. */
export interface ListedNode {
  readonly name: string
  /** What to type behind `ssh -J`. */
  readonly host: string
  /** Empty: behind an agent. */
  readonly address: string
  /** Whether this proxy can reach it now; a server without an agent counts as there. */
  readonly online: boolean
  /** That roles which show the node offer there. */
  readonly logins: readonly string[]
  readonly labels: Readonly<Record<string, string>>
}

export interface NodeList {
  /** By name, no more than `sshNodesListedMax`. */
  readonly nodes: readonly ListedNode[]
  /** There are more. */
  readonly cut: boolean
  /** This proxy, `host:port`, as clients name it. */
  readonly via: string
}

/** What the outer SSH of a jump asks of its thread. */
export interface JumpServices {
  readonly timers: SshSessionTimers
  readonly hostKeys: readonly SshKeyPair[]
  /** Whether the person of this certificate, whose key was proved, may ask for nodes: a sentence when not. */
  admit(certificate: Uint8Array): Promise<string | undefined>
  /** Somebody showed a key and proved nothing by it. */
  unproved(): void
  /** A connection to the node's own SSH. Rejects with a sentence for the person. */
  open(node: string): Promise<ByteStream>
  /** What this person may reach. Rejects with a sentence for them. */
  list(): Promise<NodeList>
}

export interface TerminalStart {
  /** Id of this terminal's recording: the audit log's `sid` of it. */
  readonly sid: string
  readonly columns: number
  readonly rows: number
  readonly term: string
  /** Fields of session.start, for the recording's own start event. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** Records what a terminal shows. Bounded: when `full`, whoever feeds it waits for `ready`. */
export interface TerminalRecorder {
  print(bytes: Uint8Array): void
  resize(columns: number, rows: number): void
  readonly full: boolean
  ready(): Promise<void>
  /** Nothing follows; resolves when all of it is where it belongs. */
  seal(reason: string): Promise<void>
}
