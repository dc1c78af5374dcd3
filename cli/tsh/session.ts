// The login on disk: who is logged in at which proxy, until when; and the client that acts as that person. Reads the certificate
// itself, so `tsh status` needs no network.

import type { ControlClient } from '../../control/api/client.ts'
import type { UserIdentity } from '../../core/identity.ts'
import { decodeIdentity } from '../../core/cert/identity.ts'
import { readPem } from '../../core/cert/pem.ts'
import { readCertificate } from '../../core/cert/x509.ts'
import { Input } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'
import { type KeyPair, type Profile, readText } from '../profile.ts'
import type { Tools } from '../tools.ts'

export interface Login {
  readonly profile: Profile
  readonly pair: KeyPair
  readonly identity: UserIdentity
  readonly expiresAtMs: number
}

export interface Session {
  readonly login: Login
  readonly client: ControlClient
}

/** The proxy asked for by option or environment. */
export function wantedProxy(input: Input, tools: Tools): string | undefined {
  return input.text('proxy') ?? tools.env['SLUICE_PROXY'] ?? tools.env['TELEPORT_PROXY']
}

export function wantedUser(input: Input, tools: Tools): string | undefined {
  return input.text('user') ?? tools.env['SLUICE_USER'] ?? tools.env['TELEPORT_USER']
}

/** The login as it lies on disk, expired or not; undefined when the profile has none. */
export function readLogin(tools: Tools, profile: Profile): Login | undefined {
  const pair = tools.profiles.loginPair(profile)
  if (pair === undefined) return undefined
  const { identity, notAfterMs } = readFacts(pair.certificate)
  return { profile, pair, identity, expiresAtMs: notAfterMs }
}

/** The login a command acts under. Throws with the status for "not logged in". */
export async function requireLogin(tools: Tools, input: Input): Promise<Login> {
  const proxy = wantedProxy(input, tools)
  const profile = await tools.profiles.read(proxy)
  const login = profile === undefined ? undefined : readLogin(tools, profile)
  const next = loginHint(login?.profile.proxy ?? profile?.proxy ?? proxy)
  if (login === undefined) throw new CommandError('not logged in', EXIT.notLoggedIn, next)
  const user = wantedUser(input, tools)
  if (user !== undefined && user !== login.profile.user)
    throw new CommandError(
      `logged in as ${login.profile.user}, not as ${user}`,
      EXIT.notLoggedIn,
      `${next} --user=${user}`,
    )
  if (login.expiresAtMs <= tools.clock.now())
    throw new CommandError('the login has expired', EXIT.notLoggedIn, next)
  return login
}

/** The same, for a person at a terminal: who is not logged in any more answers there, and the command goes on. */
async function signedIn(tools: Tools, input: Input): Promise<Login> {
  try {
    return await requireLogin(tools, input)
  } catch (error) {
    const proxy = wantedProxy(input, tools) ?? (await tools.profiles.read())?.proxy
    const missing = error instanceof CommandError && error.status === EXIT.notLoggedIn
    if (!missing || proxy === undefined || !tools.interactive || input.without('relogin'))
      throw error
    tools.note(`${error.message}; logging in again.\n`)
    const { login } = await import('./login.ts')
    const user = wantedUser(input, tools)
    const wanted = { proxy, ...(user === undefined ? {} : { user }) }
    // What was asked for may be read by a program.
    await login.run(new Input([], wanted), { ...tools, out: (text) => tools.note(text) })
    return await requireLogin(tools, input)
  }
}

export function loginHint(proxy: string | undefined): string {
  return `Log in: tsh login --proxy=${proxy ?? 'HOST:PORT'}`
}

/** Runs `work` with a client that acts as the person logged in, and closes it whatever happens. */
export async function withSession<T>(
  tools: Tools,
  input: Input,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const login = await signedIn(tools, input)
  const client = await connectAs(tools, login)
  try {
    return await work({ login, client })
  } finally {
    client.close()
  }
}

/** Like withSession, for commands that may get by with what is on disk: control is asked only when `connect` is called. */
export async function withLogin<T>(
  tools: Tools,
  input: Input,
  work: (login: Login, connect: () => Promise<Session>) => Promise<T>,
): Promise<T> {
  const login = await signedIn(tools, input)
  let client: Promise<ControlClient> | undefined
  try {
    return await work(login, async () => {
      client ??= connectAs(tools, login)
      return { login, client: await client }
    })
  } finally {
    const opened = await client?.catch(() => undefined)
    opened?.close()
  }
}

export async function connectAs(tools: Tools, login: Login): Promise<ControlClient> {
  const cas = casOf(tools, login)
  return await tools.control({
    proxies: proxiesOf(login),
    trust: { cas: readPem('CERTIFICATE', cas), cluster: login.profile.cluster },
    identity: login.pair,
  })
}

/** In the order to try them: the one that was named at login is known to be reachable from here. */
export function proxiesOf({ profile }: Login): readonly string[] {
  return [...new Set([profile.proxy, ...profile.proxies])]
}

/** The cluster's host CAs, PEM: what control and proxies prove themselves by. */
export function casOf(tools: Tools, { profile }: Login): string {
  const text = readText(tools.profiles.loginFiles(profile).cas)
  if (text !== undefined) return text
  throw new CommandError(
    'the CA certificates of the cluster are missing from the profile',
    EXIT.notLoggedIn,
    loginHint(profile.proxy),
  )
}

/** Identity and end of a user certificate, PEM. */
export function readFacts(pem: string): { identity: UserIdentity; notAfterMs: number } {
  const [der] = readPem('CERTIFICATE', pem)
  const certificate = der === undefined ? undefined : readCertificate(der)
  const identity = decodeIdentity(certificate?.extensions.identity ?? new Uint8Array())
  if (certificate === undefined || identity?.type !== 'user')
    throw new CommandError(
      'the certificate on disk is none of a person',
      EXIT.notLoggedIn,
      'Log in again: tsh login',
    )
  return { identity, notAfterMs: certificate.notAfterMs }
}
