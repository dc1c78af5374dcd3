// `tsh login`: password and one-time code go end to end to control; the certificates that come back and their keys stay in the
// profile, those of SSH in the person's ssh-agent too. An invite or a reset is completed here as well, so that a first login needs no browser.

import os from 'node:os'

import type { ControlClient } from '../../control/api/client.ts'
import type { LoginReply } from '../../control/api/messages.ts'
import { errorCode } from '../../core/errors.ts'
import { type CommandSpec, type Input, usage } from '../command.ts'
import { errorText } from '../exit.ts'
import { newKey } from '../new-key.ts'
import type { Profile } from '../profile.ts'
import type { Prompt } from '../prompt.ts'
import { hasAliases } from '../ssh/aliases.ts'
import { checkOut, writeIdentity } from '../ssh/identity-out.ts'
import { checkAgent, KEEP_OPTION, keepSshLogin, keepWay, newSshKey } from '../ssh/keep.ts'
import type { Tools } from '../tools.ts'
import { firstTrust, proxyAddress } from './first-trust.ts'
import { renewAliases } from './hosts.ts'
import { connectAs, type Login, loginHint, readLogin, wantedProxy, wantedUser } from './session.ts'
import { statusText } from './status.ts'

const MINUTE_MS = 60_000
const TTL_MINUTES_MAX = 1800

export const login: CommandSpec = {
  takes: '[cluster]',
  options: [
    { flags: '--ca-pin <pin>', about: 'pin of the cluster’s CA, sha256:…', many: true },
    { flags: '--ttl <minutes>', about: 'how long the login shall last; roles may allow less' },
    { flags: '--invite <token>', about: 'complete an invite or a reset first: its token or link' },
    { flags: '--stdin', about: 'read the answers from standard input, one per line' },
    { flags: '--force', about: 'log in again although a login is still valid' },
    KEEP_OPTION,
    {
      flags: '-o, --out <file>',
      about: 'write the SSH login to files for OpenSSH, and nothing else',
    },
    { flags: '--format <format>', about: 'of --out: openssh', choices: ['openssh'] },
    { flags: '--overwrite', about: 'with --out: replace files that are there' },
  ],
  about: [
    'The cluster must be known before a password is typed: by --ca-pin, by the pin of an earlier login, or by',
    'a proxy certificate that the web’s PKI vouches for. Without a terminal, answers are read from standard',
    'input, one line each: password, one-time code. With --invite: new password, one-time code, next code.',
  ].join('\n'),
  examples: [
    'tsh login --proxy=proxy.example.com:443 --user=alice --ca-pin=sha256:…',
    'tsh login --proxy=proxy.example.com:443 --ca-pin=sha256:… --invite=TOKEN',
    'tsh login --proxy=proxy.example.com:443 --add-keys-to-agent=only',
    'tsh login --proxy=proxy.example.com:443 --out=deploy_key --ttl=60',
    'printf \'%s\\n\' "$password" "$code" | tsh login --proxy=proxy.example.com:443 --stdin',
  ],
  async run(input, tools) {
    const invite = readInvite(input.text('invite'))
    const proxy = await chooseProxy(input, tools, invite?.proxy)
    const profile = await tools.profiles.read(proxy)
    const out = input.text('out')
    if (out !== undefined) checkOut(out, input.flag('overwrite'))
    const valid = profile === undefined ? undefined : stillValid(input, tools, profile)
    if (valid !== undefined && invite === undefined) {
      await tools.profiles.write(valid.profile)
      tools.out(statusText(valid, tools, true))
      return
    }
    const prompt = input.flag('stdin') ? await tools.stdin() : tools.prompt
    const trust = await firstTrust(tools, proxy, input.list('ca-pin'))
    const client = await tools.control({ proxies: [proxy], trust })
    try {
      await logIn({ client, prompt, tools, input, proxy, token: invite?.token })
    } finally {
      client.close()
    }
  },
}

interface Attempt {
  readonly client: ControlClient
  readonly prompt: Prompt
  readonly tools: Tools
  readonly input: Input
  readonly proxy: string
  readonly token: string | undefined
}

async function logIn(attempt: Attempt): Promise<void> {
  const { client, prompt, tools, input, proxy, token } = attempt
  const way = keepWay(input, tools)
  await checkAgent(tools, way)
  // Says who is away before anybody has typed a password.
  const { cluster } = await client.call('ping', {})
  checkCluster(input, cluster)
  const person =
    token === undefined
      ? await askPerson(attempt, cluster)
      : await completeInvite(client, prompt, tools, token)
  const ttl = input.whole('ttl', 1, TTL_MINUTES_MAX)
  const { key, publicKey } = newKey()
  const ssh = newSshKey()
  const wanted = { ...person, publicKey, ...(ttl === undefined ? {} : { ttlMs: ttl * MINUTE_MS }) }
  const reply = await client
    .call('login', { ...wanted, sshPublicKey: ssh.publicKey })
    .catch(async (error: unknown) => {
      // A control from before SSH takes no such field, and says so before it looks at the code.
      if (errorCode(error) !== 'resource.invalid') throw error
      return await client.call('login', wanted)
    })
  const out = input.text('out')
  if (out !== undefined)
    return tools.out(writeIdentity(out, { proxy, cluster, user: person.user }, ssh, reply.ssh))
  const written = await store(tools, proxy, person.user, key, reply)
  await keepSshLogin(tools, written.profile, ssh, reply.ssh, way)
  await renewHosts(tools, written)
  tools.out(statusText(written, tools, true))
}

/** What OpenSSH knows of hosts. A login is one without it too. */
async function renewHosts(tools: Tools, login: Login): Promise<void> {
  if (!hasAliases(tools, login.profile)) return
  const client = await connectAs(tools, login)
  try {
    await renewAliases(tools, login.profile, client)
  } catch (error) {
    tools.note(`What tsh config wrote of hosts is as it was: ${errorText(error)}\n`)
  } finally {
    client.close()
  }
}

interface Person {
  readonly user: string
  readonly password: string
  readonly otp: string
}

async function askPerson(
  { prompt, tools, input, proxy }: Attempt,
  cluster: string,
): Promise<Person> {
  const before = await tools.profiles.read(proxy)
  const user = wantedUser(input, tools) ?? before?.user ?? os.userInfo().username
  const password = await prompt.secret(`Password of ${user} in ${cluster}`)
  const otp = (await prompt.text('One-time code')).trim()
  return { user, password, otp }
}

async function completeInvite(
  client: ControlClient,
  prompt: Prompt,
  tools: Tools,
  token: string,
): Promise<Person> {
  const { user, cluster, purpose, otpSecret, otpUri } = await client.call('invite-read', { token })
  const what = purpose === 'invite' ? 'Welcome to' : 'New credentials in'
  tools.note(`${what} ${cluster}. Your user name is ${user}.\n`)
  const password = await prompt.secret('New password (12 to 128 characters)')
  tools.note(
    `\nAdd this account to an authenticator app:\n  secret  ${otpSecret}\n  link    ${otpUri}\n\n`,
  )
  const otp = (await prompt.text('One-time code the app shows now')).trim()
  await client.call('invite-complete', { token, password, otp })
  tools.note('Password and one-time codes are set. A code works once; wait for the next one.\n')
  return { user, password, otp: (await prompt.text('Next one-time code')).trim() }
}

async function store(
  tools: Tools,
  proxy: string,
  user: string,
  key: string,
  { certificate, cluster, cas, proxies }: LoginReply,
): Promise<Login> {
  const { profiles } = tools
  const profile: Profile = { proxy, user, cluster, pins: cas.pins, proxies }
  const files = profiles.loginFiles(profile)
  profiles.put(files.key, key)
  profiles.put(files.certificate, certificate)
  for (const file of [files.cas, files.allCas]) profiles.put(file, cas.host.join(''))
  await profiles.write(profile)
  const written = readLogin(tools, profile)
  if (written === undefined) throw new Error('the login just written is not there')
  return written
}

function stillValid(input: Input, tools: Tools, profile: Profile): Login | undefined {
  const again =
    ['force', 'stdin'].some((name) => input.flag(name)) ||
    ['ttl', 'out'].some((name) => input.text(name) !== undefined)
  const known = again ? undefined : readLogin(tools, profile)
  const user = wantedUser(input, tools)
  const same = known !== undefined && (user === undefined || user === known.profile.user)
  return same && known.expiresAtMs > tools.clock.now() ? known : undefined
}

function checkCluster(input: Input, cluster: string): void {
  const wanted = input.args[0]
  if (wanted !== undefined && wanted !== cluster)
    throw usage(`this proxy belongs to the cluster ${cluster}, not ${wanted}`)
}

async function chooseProxy(
  input: Input,
  tools: Tools,
  invited: string | undefined,
): Promise<string> {
  const wanted = wantedProxy(input, tools) ?? invited ?? (await tools.profiles.read())?.proxy
  if (wanted === undefined) throw usage('which proxy?', loginHint(undefined))
  return proxyAddress(wanted)
}

/** The token of an invite, and the proxy when a whole link was given. */
function readInvite(text: string | undefined): { token: string; proxy?: string } | undefined {
  if (text === undefined) return undefined
  const link = /^https:\/\/([^/]+)\/web\/(?:invite|reset)\/([0-9a-f]+)$/.exec(text.trim())
  if (link?.[1] !== undefined && link[2] !== undefined) return { token: link[2], proxy: link[1] }
  return { token: text.trim() }
}
