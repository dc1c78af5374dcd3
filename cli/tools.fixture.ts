// Tools for tests of commands: what was printed is kept, time stands still, control is a table of answers, and everything on disk
// lies in a folder of the test.

import path from 'node:path'
import { Readable, Writable } from 'node:stream'

import type { CallOptions, ControlClient, StreamName } from '../control/api/client.ts'
import type { CallName, Reply, Request } from '../control/api/calls.ts'
import { writePem } from '../core/cert/pem.ts'
import { FakeClock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import type { UserIdentity } from '../core/identity.ts'
import { CLUSTER, testCa, testLeaf, userIdentity } from '../test/fixtures/certificates.ts'
import { type Cleanup, temporaryFolder } from '../test/fixtures/files.ts'
import { describeAll, type ProgramSpec } from './program.ts'
import { Input } from './command.ts'
import { type Profile, ProfileStore } from './profile.ts'
import type { Reach, Tools } from './tools.ts'

const HOUR_MS = 3_600_000

export type Answers = {
  readonly [N in CallName]?: (request: Request<N>) => Reply<N> | Promise<Reply<N>>
}

/** A client that answers from a table and keeps what was asked. */
export class FakeControl implements ControlClient {
  readonly asked: { readonly name: CallName; readonly request: unknown }[] = []
  readonly #answers: Answers
  closed = false

  constructor(answers: Answers) {
    this.#answers = answers
  }

  async call<N extends Exclude<CallName, StreamName>>(
    name: N,
    request: Request<N>,
  ): Promise<Reply<N>> {
    return await this.#answer(name, request)
  }

  async *stream<N extends StreamName>(
    name: N,
    request: Request<N>,
    _options?: CallOptions,
  ): AsyncGenerator<Reply<N>, undefined> {
    yield await this.#answer(name, request)
  }

  /** What a call was asked with; undefined when it was not made. */
  request<N extends CallName>(name: N): Request<N> | undefined {
    return this.asked.find((each) => each.name === name)?.request as Request<N> | undefined
  }

  reset(): void {}

  close(): void {
    this.closed = true
  }

  async #answer<N extends CallName>(name: N, request: Request<N>): Promise<Reply<N>> {
    this.asked.push({ name, request })
    const answer: Answers[N] = this.#answers[name]
    if (answer === undefined)
      throw new ProxyError('resource.not-found', `the test has no answer for ${name}`)
    return await answer(request)
  }
}

export interface FakeTools extends Tools {
  readonly clock: FakeClock
  readonly folder: string
  printed(): string
  noted(): string
  /** Reaches of every client that was asked for. */
  readonly reached: Reach[]
  readonly localSockets: string[]
  readonly ran: { readonly program: string; readonly args: readonly string[] }[]
}

export interface FakeOptions {
  readonly control?: ControlClient
  readonly answers?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly over?: Omit<Partial<Tools>, 'clock'>
}

export async function fakeTools(cleanup: Cleanup, options: FakeOptions = {}): Promise<FakeTools> {
  const folder = await temporaryFolder(cleanup)
  const clock = new FakeClock()
  const control = options.control ?? new FakeControl({})
  const lines = [...(options.answers ?? [])]
  const answer = (question: string): Promise<string> => {
    const line = lines.shift()
    return line === undefined
      ? Promise.reject(new Error(`nobody answers "${question}"`))
      : Promise.resolve(line)
  }
  let out = ''
  let noted = ''
  const reached: Reach[] = []
  const localSockets: string[] = []
  const ran: { program: string; args: readonly string[] }[] = []
  return {
    env: { PGSERVICEFILE: path.join(folder, 'pg_service.conf'), ...options.env },
    clock,
    folder,
    reached,
    localSockets,
    ran,
    profiles: new ProfileStore(path.join(folder, 'tsh')),
    prompt: { text: answer, secret: answer },
    interactive: false,
    out: (text) => void (out += text),
    outSlowly: (text) => Promise.resolve(void (out += text)),
    note: (text) => void (noted += text),
    stdin: () => Promise.resolve({ text: answer, secret: answer }),
    streams: () => ({
      input: Readable.from([]),
      output: new Writable({ write: (chunk, _, done) => done(void (out += String(chunk))) }),
      errors: new Writable({ write: (chunk, _, done) => done(void (noted += String(chunk))) }),
    }),
    printed: () => out,
    noted: () => noted,
    control(reach) {
      reached.push(reach)
      return Promise.resolve(control)
    },
    localControl(socketPath) {
      localSockets.push(socketPath)
      return Promise.resolve(control)
    },
    webGet: () => Promise.reject(new ProxyError('trust.unproven', 'no web here')),
    lookup: () => Promise.resolve(['192.0.2.7']),
    run(program, args) {
      ran.push({ program, args })
      return Promise.resolve(0)
    },
    untilInterrupted: () => Promise.resolve(),
    sleep(ms) {
      clock.advance(ms)
      return Promise.resolve()
    },
    keys: () => undefined,
    ...options.over,
  }
}

/** Runs a command of a table as the parser would: words, arguments, options by their long names in camel case. */
export async function runCommand(
  spec: ProgramSpec,
  tools: Tools,
  words: string,
  args: readonly string[] = [],
  options: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const row = (await describeAll(spec)).find((each) => each.words === words)
  if (row === undefined) throw new Error(`no command ${words}`)
  await row.spec.run(new Input(args, options), tools)
}

/** A user certificate as control would sign it, PEM; for `publicKey` (SPKI, base64) when given. */
export function userCertificate(
  clock: FakeClock,
  over: Partial<UserIdentity> = {},
  validMs: number = 12 * HOUR_MS,
  publicKey?: string,
): string {
  const nowMs = clock.now()
  const ca = testCa('user CA', nowMs)
  const leaf = testLeaf(ca, userIdentity(over), nowMs, {
    notAfterMs: nowMs + validMs,
    ...(publicKey === undefined ? {} : { spki: Buffer.from(publicKey, 'base64') }),
  })
  return writePem('CERTIFICATE', leaf.der)
}

export const HOST_CA: string = writePem('CERTIFICATE', testCa('host CA', 0).der)
export const PIN: string = `sha256:${'ab'.repeat(32)}`

/** A login on disk. */
export async function loggedIn(tools: FakeTools, over: Partial<Profile> = {}): Promise<Profile> {
  const profile: Profile = {
    proxy: 'proxy.example.com:443',
    user: 'alice',
    cluster: CLUSTER,
    pins: [PIN],
    proxies: ['proxy.example.com:443'],
    ...over,
  }
  const files = tools.profiles.loginFiles(profile)
  tools.profiles.put(files.key, 'a key\n')
  tools.profiles.put(files.certificate, userCertificate(tools.clock, { name: profile.user }))
  tools.profiles.put(files.cas, HOST_CA)
  await tools.profiles.write(profile)
  return profile
}
