// What one login of a machine does for an SSH session: programs, connections, listeners, all of it as that login. The launcher
// carries it out where the agent serves its own machine; another SSH server does where sessions end before it (services.ts).
// Types only. Whoever holds a `Machine` has been authorised for exactly this login; each use of it is asked for and audited by itself.

import type { ByteStream } from '../stream.ts'

/** A terminal's size; pixels are 0 when unknown. */
export interface WindowSize {
  readonly columns: number
  readonly rows: number
  readonly width: number
  readonly height: number
}

export interface Pty {
  readonly term: string
  readonly size: WindowSize
  /** Encoded terminal modes, RFC 4254 section 8. */
  readonly modes: Uint8Array
}

/** How a program ended. `name` is a signal's without SIG (`KILL`). */
export type Exit =
  | { readonly kind: 'status'; readonly code: number }
  | {
      readonly kind: 'signal'
      readonly name: string
      readonly core: boolean
      readonly text: string
    }

/** A command is bytes: file names need not be UTF-8. The login's shell runs it, as sshd does. */
export type ProgramKind =
  | { readonly kind: 'shell' }
  | { readonly kind: 'exec'; readonly command: Uint8Array }
  | { readonly kind: 'subsystem'; readonly name: 'sftp' }

export interface ProgramRequest {
  readonly program: ProgramKind
  readonly pty?: Pty
  /** Already reduced to names a client may set. */
  readonly env: Readonly<Record<string, string>>
}

export interface Program {
  /** Its standard input (writes; `end` closes it) and standard output; of a terminal both are the terminal. */
  readonly io: ByteStream
  /** Absent with a terminal. */
  readonly stderr?: ByteStream
  /** Resolves when the program ended; what it wrote before may still be to read. */
  readonly exit: Promise<Exit>
  resize(size: WindowSize): void
  /** `name` as on the wire, without SIG; one that is unknown does nothing. */
  signal(name: string): void
  /** Hangs up: the program and what it started with its terminal get SIGHUP. Idempotent. */
  end(): void
}

/** Where a connection goes or is awaited. */
export type Place =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

export interface Listening {
  /** The port that was chosen, when 0 was asked for; 0 for a path. */
  readonly port: number
  close(): void
}

/** Somebody connected: `from` as the listener sees them. */
export type Connected = (stream: ByteStream, from: { host: string; port: number }) => void

export interface Machine {
  /** Rejects with a sentence that may be shown. */
  start(request: ProgramRequest): Promise<Program>
  /** Connects from the machine, as the login. */
  connect(to: Place): Promise<ByteStream>
  /** Listens on the machine, as the login. */
  listen(at: Place, connected: Connected): Promise<Listening>
  /** A socket for the login's programs that leads to the client's ssh-agent; its path is for SSH_AUTH_SOCK. */
  agentSocket(connected: Connected): Promise<Listening & { readonly path: string }>
  /** A display for the login's programs that leads to the client's X server; `display` is for DISPLAY, the cookie is in the login's Xauthority. */
  x11(
    request: { readonly protocol: string; readonly cookie: string; readonly screen: number },
    connected: Connected,
  ): Promise<Listening & { readonly display: string }>
  /** The session is over: programs are hung up, listeners and connections closed. Idempotent. */
  end(): void
}
