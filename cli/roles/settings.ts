// What role processes read out of sluice.yaml: folders, addresses, names, log options. Pure functions of the configuration.

import os from 'node:os'
import path from 'node:path'
import process from 'node:process'

import { type ConfigFile, durationMs, loadConfig } from '../../control/config.ts'
import type { Logger } from '../../core/log.ts'
import { createLogger, DEFAULT_LOG, type LogOptions } from '../logger.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import type { Role } from '../supervisor/messages.ts'

const DRAIN_DEFAULT_MS = 30_000

/** The folder a role keeps its state in; made and owned by the supervisor. */
export function roleFolder(config: ConfigFile, role: Role): string {
  return path.join(config.sluice.data_dir, role)
}

export function signerSocket(config: ConfigFile): string {
  return path.join(config.sluice.data_dir, 'signer-socket', 'signer.sock')
}

/** Where the launcher keeps its sockets, for the agent of this machine. */
export function launcherFolder(config: ConfigFile): string {
  return path.join(config.sluice.data_dir, 'launcher-sockets')
}

/** Control's socket for the local super-administrator. */
export function adminSocket(config: ConfigFile): string {
  return path.join(roleFolder(config, 'control'), 'admin.sock')
}

export function hostname(config: ConfigFile): string {
  return (config.sluice.nodename ?? os.hostname()).toLowerCase()
}

/** The configured name, else this machine's, as the reference product does. */
export function clusterName(config: ConfigFile): string {
  const name = config.auth_service.cluster_name ?? hostname(config)
  return name.replaceAll(/[^a-z0-9.-]/g, '-').replaceAll(/^[-.]+|[-.]+$/g, '')
}

/** What clients and agents dial. A wildcard listen address is no address to dial: then this machine's name stands in. */
export function publicAddress(config: ConfigFile, port?: number): string {
  const { public_addr: configured, web_listen_addr: listen } = config.proxy_service
  const named = typeof configured === 'string' ? configured : configured?.[0]
  if (named !== undefined) return named
  const bound = splitAddress(listen)
  const host = bound.host === '0.0.0.0' || bound.host === '::' ? hostname(config) : bound.host
  return `${host.includes(':') ? `[${host}]` : host}:${port ?? bound.port}`
}

export function pins(config: ConfigFile): readonly string[] {
  const { ca_pin: pin } = config.sluice
  if (pin === undefined) return []
  return typeof pin === 'string' ? [pin] : pin
}

export function joinToken(config: ConfigFile): string | undefined {
  return config.sluice.join_params?.token_name ?? config.sluice.auth_token
}

/** Ports that processes of this machine's file listen on. */
export function ownPorts(config: ConfigFile): readonly number[] {
  const { sluice, auth_service: auth, proxy_service: proxy } = config
  const diagnostics = sluice.diag_addr === undefined ? 0 : splitAddress(sluice.diag_addr).port
  return [
    ...(auth.enabled ? [splitAddress(auth.listen_addr).port] : []),
    ...(proxy.enabled ? [splitAddress(proxy.web_listen_addr).port] : []),
    // Of the first role on this machine; further roles take the following ports.
    ...(diagnostics === 0 ? [] : Array.from({ length: ROLES_MAX }, (_, at) => diagnostics + at)),
  ]
}

const ROLES_MAX = 4

export function drainMs(config: ConfigFile): number {
  const { shutdown_delay: text } = config.sluice
  return text === undefined ? DRAIN_DEFAULT_MS : durationMs(text)
}

export function logOptions(config: ConfigFile, component: string): LogOptions {
  const { log } = config.sluice
  return {
    ...DEFAULT_LOG,
    component,
    ...(log === undefined
      ? {}
      : { severity: log.severity, output: log.output, format: log.format?.output ?? 'text' }),
  }
}

/** The logger of a role process; its worker threads read the same choice from the environment. */
export function roleLogger(role: Role, configText: string, configFile: string): Logger {
  const options = logOptions(loadConfig(configText, configFile), role)
  process.env['SLUICE_LOG_LEVEL'] =
    options.severity === 'WARNING' ? 'warn' : options.severity.toLowerCase()
  process.env['SLUICE_LOG_FORMAT'] = options.format
  return createLogger(options)
}
