// What the supervisor and its children say to each other over the IPC channel of `fork`. The supervisor starts, watches
// and stops; it never reads a byte from the network, so nothing here carries one.

/** Roles that run under a uid of their own where the supervisor is root. */
export const ROLES = ['signer', 'control', 'proxy', 'agent'] as const
export type ConfinedRole = (typeof ROLES)[number]
/** The launcher stays root, or it could start nobody's programs. */
export type Role = ConfinedRole | 'launcher'

/** Supervisor → child. Listening sockets follow one by one as `listener` messages with a handle. */
export type ToChild =
  | {
      readonly kind: 'start'
      readonly config: string
      readonly configFile: string
      readonly listeners: readonly string[]
      readonly local?: LocalJoin
      /** For signer and control: what key_passphrase_file holds. Only the supervisor may be able to read it. */
      readonly passphrase?: Uint8Array
    }
  | { readonly kind: 'listener'; readonly name: string }
  | { readonly kind: 'reload'; readonly config: string }
  | { readonly kind: 'drain' }
  /** Asked of control only, when another role of this machine has no identity yet. */
  | { readonly kind: 'local-token'; readonly role: 'proxy' | 'agent' }

/** Child → supervisor. */
export type FromChild =
  | { readonly kind: 'ready'; readonly addresses: Readonly<Record<string, string>> }
  | { readonly kind: 'local-token'; readonly role: 'proxy' | 'agent'; readonly local: LocalJoin }
  | { readonly kind: 'failed'; readonly message: string; readonly next?: string }
  | { readonly kind: 'drained' }

/** A one-use join token for a process of the same machine, with the pin of the cluster it belongs to. Never written to disk. */
export interface LocalJoin {
  readonly token: string
  readonly pins: readonly string[]
  /** `host:port` at which control listens on this machine. */
  readonly controlAddress: string
}
