// sluice.yaml as the rest of the program sees it: checked, with defaults filled in. Key names are the file's own.

export type Address = string

export interface GlobalConfig {
  readonly nodename?: string | undefined
  readonly data_dir: string
  readonly auth_token?: string | undefined
  readonly join_params?: { readonly method: 'token'; readonly token_name: string } | undefined
  readonly ca_pin?: string | readonly string[] | undefined
  /** Where control is, for proxies (and agents that need no proxy to reach it). */
  readonly auth_server?: Address | undefined
  /** Where the public port is, for agents. */
  readonly proxy_server?: Address | undefined
  /** Of the first role on this machine; further roles take the following ports. */
  readonly diag_addr?: Address | undefined
  /** How long sessions may go on after SIGTERM. */
  readonly shutdown_delay?: string | undefined
  readonly log?: LogConfig | undefined
  /** Numeric uids (and gids of the same number) the roles run under when started as root. */
  readonly run_as?:
    | Readonly<Partial<Record<'signer' | 'control' | 'proxy' | 'agent', number | undefined>>>
    | undefined
  /** CA keys in clear 0600 files: only when said. */
  readonly insecure_keys: boolean
  readonly key_passphrase_file?: string | undefined
}

export interface LogConfig {
  readonly output: 'stderr' | 'stdout'
  readonly severity: 'DEBUG' | 'INFO' | 'WARN' | 'WARNING' | 'ERROR'
  readonly format?:
    | { readonly output: 'text' | 'json'; readonly extra_fields?: readonly string[] | undefined }
    | undefined
}

export interface AuthConfig {
  readonly enabled: boolean
  readonly listen_addr: Address
  readonly cluster_name?: string | undefined
  /** `db,node:secret`: static join tokens. */
  readonly tokens: readonly string[]
  readonly authentication?:
    | {
        readonly type: 'local'
        readonly second_factors: readonly 'otp'[]
        readonly second_factor?: 'otp' | undefined
        readonly locking_mode?: 'strict' | 'best_effort' | undefined
        readonly default_session_ttl?: string | undefined
        readonly local_auth?: true | undefined
      }
    | undefined
  readonly session_recording?: 'node' | 'node-sync' | 'proxy' | 'proxy-sync' | 'off' | undefined
  /** How long recordings are kept; for ever when absent. */
  readonly recordings_retention?: string | undefined
  /** `500GB`: of all recordings that control keeps. */
  readonly recordings_size_max?: string | undefined
  readonly client_idle_timeout?: string | undefined
  readonly client_idle_timeout_message?: string | undefined
  readonly disconnect_expired_cert?: boolean | undefined
}

export interface ProxyConfig {
  readonly enabled: boolean
  readonly web_listen_addr: Address
  /** What clients and agents dial; the listen address when absent. */
  readonly public_addr?: Address | readonly Address[] | undefined
  readonly https_keypairs: readonly { readonly key_file: string; readonly cert_file: string }[]
  readonly proxy_protocol?: 'on' | 'off' | undefined
  /** Networks (CIDR or single addresses) PROXY headers are believed from. */
  readonly proxy_protocol_trusted: readonly string[]
  /** Unfinished connections per source address; an office behind one address may need more. */
  readonly unauthenticated_per_source?: number | undefined
  /** Loopback and link-local networks that servers without an agent may be in all the same. */
  readonly resources_may_dial: readonly string[]
  readonly worker_threads?: number | undefined
}

export interface DatabaseConfig {
  readonly name: string
  readonly description: string
  readonly protocol: 'postgres'
  readonly uri: Address
  readonly static_labels: Readonly<Record<string, string>>
  readonly ca_cert_file?: string | undefined
  readonly tls?:
    | {
        readonly mode: 'verify-full' | 'verify-ca' | 'insecure'
        readonly server_name?: string | undefined
        readonly ca_cert_file?: string | undefined
        readonly trust_system_cert_pool: boolean
      }
    | undefined
}

export interface DbConfig {
  readonly enabled: boolean
  readonly databases: readonly DatabaseConfig[]
  /** Labels of `db` resources this agent would serve. */
  readonly resources: readonly {
    readonly labels: Readonly<Record<string, readonly string[]>>
  }[]
  /** Loopback and link-local networks that such a resource may name all the same. */
  readonly resources_may_dial: readonly string[]
  readonly worker_threads?: number | undefined
}

/** A label whose value is what a command prints, asked again each period. */
export interface LabelCommand {
  readonly name: string
  readonly command: readonly string[]
  readonly period: string
}

export interface SshConfig {
  readonly enabled: boolean
  readonly labels: Readonly<Record<string, string>>
  readonly commands: readonly LabelCommand[]
  /** Off here is off for everybody, whatever their roles say. */
  readonly ssh_file_copy: boolean
  readonly port_forwarding: boolean
  readonly x11: {
    readonly enabled: boolean
    readonly display_offset: number
    readonly max_display: number
  }
  /** Accepted: no host user is ever created. */
  readonly disable_create_host_user: boolean
  readonly worker_threads?: number | undefined
}

export interface ConfigFile {
  readonly version: 'v1' | 'v2' | 'v3'
  readonly sluice: GlobalConfig
  readonly auth_service: AuthConfig
  readonly proxy_service: ProxyConfig
  readonly db_service: DbConfig
  readonly ssh_service: SshConfig
}
