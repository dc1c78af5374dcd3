// What `tsh login` leaves on disk, in the reference product's `~/.tsh` layout, so that its users find their files:
//   current-profile, <proxy>.yaml, known_hosts, keys/<proxy>/<user>.{key,crt}, certs.pem, cas/<cluster>.pem,
//   <user>-db/<cluster>/<db>.{crt,key}; for SSH <user>, <user>.pub, <user>-ssh/<cluster>-cert.pub
// Folders 0700, files 0600, each written whole or not at all. Nothing here talks to a network.

import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import type { SessionMode } from '../core/login.ts'
import { CommandError, EXIT } from './exit.ts'
import { profileHome } from './profile-home.ts'
import { readPlain } from './profile-text.ts'

/** One login at one proxy, as `<proxy>.yaml` keeps it. */
export interface Profile {
  /** `host:port` of the proxy that was named at login. */
  readonly proxy: string
  readonly user: string
  readonly cluster: string
  /** Pins of the cluster's host CA: what makes later logins safe without `--ca-pin`. */
  readonly pins: readonly string[]
  /** All proxies' public addresses as last heard. */
  readonly proxies: readonly string[]
}

export interface KeyPair {
  /** PEM. */
  readonly certificate: string
  readonly key: string
}

export class ProfileStore {
  readonly #home: string

  constructor(home: string = profileHome()) {
    this.#home = home
  }

  /** The profile named, or the current one; undefined when there is none. */
  async read(proxy?: string): Promise<Profile | undefined> {
    const name = proxy === undefined ? this.#text('current-profile')?.trim() : hostOf(proxy)
    if (name === undefined || name === '') return undefined
    const text = this.#text(`${safe(name)}.yaml`)
    if (text === undefined) return undefined
    return asProfile(readPlain(text) ?? (await import('yaml')).parse(text), name)
  }

  /** All profiles, the current one first. */
  async list(): Promise<readonly Profile[]> {
    const current = this.#text('current-profile')?.trim()
    const names = this.#names().sort(
      (a, b) => Number(b === current) - Number(a === current) || a.localeCompare(b),
    )
    const profiles = await Promise.all(names.map((name) => this.read(name)))
    return profiles.filter((profile) => profile !== undefined)
  }

  /** Writes the profile and makes it the current one. */
  async write(profile: Profile): Promise<void> {
    const { stringify } = await import('yaml')
    const name = safe(hostOf(profile.proxy))
    const { proxy, user, cluster, pins, proxies } = profile
    const document = {
      web_proxy_addr: proxy,
      user,
      cluster,
      ca_pins: pins,
      proxies,
      tls_routing_enabled: true,
    }
    this.#put(`${name}.yaml`, stringify(document))
    this.#put('current-profile', `${name}\n`)
  }

  /** Forgets the login: keys and certificates go, the profile (with its pins) stays, so that the next login needs no pin. */
  forget(profile: Profile): void {
    rmSync(path.join(this.#home, 'keys', safe(hostOf(profile.proxy))), {
      recursive: true,
      force: true,
    })
    const current = this.#text('current-profile')?.trim()
    if (current === hostOf(profile.proxy))
      rmSync(path.join(this.#home, 'current-profile'), { force: true })
  }

  /** `allCas` holds the CAs of every cluster behind the proxy; there is one cluster so far. */
  loginFiles(profile: Profile): {
    key: string
    certificate: string
    cas: string
    allCas: string
  } {
    const folder = this.#keys(profile)
    return {
      key: path.join(folder, `${safe(profile.user)}.key`),
      certificate: path.join(folder, `${safe(profile.user)}.crt`),
      cas: path.join(folder, 'cas', `${safe(profile.cluster)}.pem`),
      allCas: path.join(folder, 'certs.pem'),
    }
  }

  /** `key` is there only when the ssh-agent has not got it alone. `hostCas`: what tsh trusts; `knownHosts`: the same for OpenSSH. */
  sshFiles(profile: Profile): {
    key: string
    publicKey: string
    certificate: string
    hostCas: string
    knownHosts: string
    aliases: string
  } {
    const folder = this.#keys(profile)
    const [user, cluster] = [safe(profile.user), safe(profile.cluster)]
    return {
      key: path.join(folder, user),
      publicKey: path.join(folder, `${user}.pub`),
      certificate: path.join(folder, `${user}-ssh`, `${cluster}-cert.pub`),
      hostCas: path.join(folder, 'cas', `${cluster}-ssh.pub`),
      knownHosts: path.join(this.#home, 'known_hosts'),
      // Included by ~/.ssh/config, so it outlives a logout.
      aliases: path.join(this.#home, `${safe(hostOf(profile.proxy))}.ssh_config`),
    }
  }

  /** `mode`: of whom the CA file proves: agents (relay) or proxies. */
  databaseFiles(
    profile: Profile,
    database: string,
    mode: SessionMode = 'relay',
  ): { key: string; certificate: string; cas: string } {
    const cas = `${safe(profile.cluster)}-${mode === 'relay' ? 'target' : 'host'}.pem`
    const folder = path.join(this.#keys(profile), `${safe(profile.user)}-db`, safe(profile.cluster))
    return {
      key: path.join(folder, `${safe(database)}.key`),
      certificate: path.join(folder, `${safe(database)}.crt`),
      cas: path.join(this.#keys(profile), 'cas', cas),
    }
  }

  /** Databases with a certificate on disk. */
  databases(profile: Profile): readonly string[] {
    const folder = path.dirname(this.databaseFiles(profile, 'x').key)
    return listFolder(folder)
      .filter((name) => name.endsWith('.crt'))
      .map((name) => unsafe(name.slice(0, -4)))
  }

  loginPair(profile: Profile): KeyPair | undefined {
    return pair(this.loginFiles(profile))
  }

  databasePair(profile: Profile, database: string): KeyPair | undefined {
    return pair(this.databaseFiles(profile, database))
  }

  /** Writes one file under the profile home, whole, 0600. `file` is absolute or relative to the home. */
  put(file: string, text: string): void {
    this.#put(path.relative(this.#home, path.resolve(this.#home, file)), text)
  }

  /** A login without SSH has no file of an earlier one with it. */
  forgetSsh(profile: Profile): void {
    const { key, publicKey, certificate, hostCas } = this.sshFiles(profile)
    for (const file of [key, publicKey, certificate, hostCas]) rmSync(file, { force: true })
  }

  forgetDatabase(profile: Profile, database: string): void {
    const files = this.databaseFiles(profile, database)
    for (const file of [files.key, files.certificate]) rmSync(file, { force: true })
  }

  #keys(profile: Profile): string {
    return path.join(this.#home, 'keys', safe(hostOf(profile.proxy)))
  }

  #names(): string[] {
    return listFolder(this.#home)
      .filter((name) => name.endsWith('.yaml'))
      .map((name) => name.slice(0, -5))
  }

  #text(name: string): string | undefined {
    return readText(path.join(this.#home, name))
  }

  #put(name: string, text: string): void {
    writeWhole(path.join(this.#home, name), text)
  }
}

/** Writes a file under a temporary name and renames it: a reader sees the old or the new text, never half. Leaves nothing when it fails. */
export function writeWhole(file: string, text: string, mode: number = 0o600): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    writeFileSync(temporary, text, { mode, flag: 'wx', flush: true })
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** The text of a file, or undefined when there is none. Other errors are the caller's to see. */
export function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      (error.code === 'ENOENT' || error.code === 'ENOTDIR')
    )
      return undefined
    throw error
  }
}

/** `host` of `host:port`; the layout names files after it. */
export function hostOf(proxy: string): string {
  return proxy.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '')
}

/** A name as one path component: everything outside a safe alphabet is percent-encoded, so `..` and `/` cannot climb. */
function safe(name: string): string {
  return encodeURIComponent(name).replace(/^\./, '%2E').replaceAll('*', '%2A')
}

function unsafe(component: string): string {
  return decodeURIComponent(component)
}

function pair(files: { key: string; certificate: string }): KeyPair | undefined {
  const key = readText(files.key)
  const certificate = readText(files.certificate)
  return key === undefined || certificate === undefined ? undefined : { key, certificate }
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

function asProfile(value: unknown, name: string): Profile {
  const fields =
    typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
  const text = (key: string): string => {
    const found = fields[key]
    if (typeof found === 'string') return found
    throw new CommandError(
      `the profile ${name}.yaml has no ${key}`,
      EXIT.failure,
      'Log in again: tsh login --proxy=…',
    )
  }
  const list = (key: string): readonly string[] => {
    const found = fields[key]
    return Array.isArray(found) ? found.filter((item) => typeof item === 'string') : []
  }
  return {
    proxy: text('web_proxy_addr'),
    user: text('user'),
    cluster: text('cluster'),
    pins: list('ca_pins'),
    proxies: list('proxies'),
  }
}
