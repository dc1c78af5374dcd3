// Runs a protocol's agent half on a connected target until it is in: TLS, start-up, the target's verdict. Hands back the
// socket with the bytes that belong to the session. It knows one side only; the person is told by the session.

import type net from 'node:net'

import { ProxyError } from '../core/errors.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type {
  Action,
  AuditFields,
  FramedProtocol,
  FramedSession,
  TargetLogin,
} from '../core/protocol.ts'
import { ChunkOut } from './chunk-out.ts'
import type { PerformServices } from './session.ts'
import { SideStream } from './side.ts'
import { connectTls, endPointOf } from './tls-client.ts'
import type { TlsClientOptions } from './tls-client.ts'

/** A connected target and how to log in to it. */
export interface Dialled {
  readonly socket: net.Socket
  readonly login: TargetLogin
  /** How `upgrade-tls` is carried out; absent when the login does not use TLS. */
  readonly tls?: TlsClientOptions
}

/** A target that let us in. */
export interface LoggedIn {
  readonly socket: net.Socket
  /** Bytes of the target that the session is offered first. */
  readonly first: Uint8Array
}

interface LoginServices {
  readonly log: Logger
  readonly nowMs: number
  audit(code: string, fields: AuditFields): void
}

/** Dials by `services` and logs in; gives up when `signal` aborts, also on a dial that never ends. */
export async function reachTarget(
  protocol: FramedProtocol,
  right: Authorized,
  opening: Uint8Array,
  services: Pick<PerformServices, 'clock' | 'log' | 'audit' | 'dial'>,
  signal: AbortSignal,
): Promise<LoggedIn> {
  const dialled = await abortable(services.dial(right, opening, signal), signal)
  const login = {
    log: services.log,
    nowMs: services.clock.now(),
    audit: (code: string, fields: AuditFields) => services.audit(code, fields, right),
  }
  return await logInToTarget(protocol, dialled, login, signal)
}

function abortable(dial: Promise<Dialled>, signal: AbortSignal): Promise<Dialled> {
  const { promise, resolve, reject } = Promise.withResolvers<Dialled>()
  const abort = (): void =>
    reject(new ProxyError('dial.failed', 'the target did not answer in time', { side: 'target' }))
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  dial
    .then((dialled) => {
      signal.removeEventListener('abort', abort)
      // Too late: nobody will own it.
      if (signal.aborted) dialled.socket.destroy()
      resolve(dialled)
    })
    .catch(reject)
  return promise
}

/** Rejects with `dial.failed`; the socket is destroyed then, and when `signal` aborts. */
export function logInToTarget(
  protocol: FramedProtocol,
  dialled: Dialled,
  services: LoginServices,
  signal: AbortSignal,
): Promise<LoggedIn> {
  return runHalf(protocol.agent(dialled.login), dialled, services, signal)
}

/** Runs any half that begins on a connected target and ends with `ready`. */
export function runHalf(
  half: FramedSession,
  dialled: Dialled,
  services: LoginServices,
  signal: AbortSignal,
): Promise<LoggedIn> {
  return new Promise((resolve, reject) => {
    const run = new LoginRun(half, dialled, services, { resolve, reject })
    const abort = (): void => run.fail('the target did not let us in in time')
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    run.over.finally(() => signal.removeEventListener('abort', abort)).catch(() => {})
    return run.start()
  })
}

interface Outcome {
  resolve(result: LoggedIn): void
  reject(error: Error): void
}

class LoginRun {
  readonly over: Promise<void>
  readonly #settle: () => void
  readonly #half: FramedSession
  readonly #dialled: Dialled
  readonly #services: LoginServices
  readonly #outcome: Outcome
  readonly #out = new ChunkOut(() => true)
  readonly #side: SideStream
  #done = false

  constructor(half: FramedSession, dialled: Dialled, services: LoginServices, outcome: Outcome) {
    this.#half = half
    this.#dialled = dialled
    this.#services = services
    this.#outcome = outcome
    const { promise, resolve } = Promise.withResolvers<void>()
    this.over = promise
    this.#settle = resolve
    this.#side = new SideStream({
      data: (chunk) => this.#judge(chunk),
      ended: () => this.#tell({ kind: 'ended', side: 'target' }),
      gone: (error) => this.fail(error?.message ?? 'the target closed the connection'),
      drained: () => {},
    })
    this.#side.attach(dialled.socket)
  }

  start(): void {
    const { login } = this.#dialled
    const { nowMs } = this.#services
    this.#tell({ kind: 'start', stage: '', target: login.right.access.target, nowMs })
  }

  fail(detail: string): void {
    if (this.#done) return
    this.#finish()
    this.#side.destroy()
    this.#dialled.socket.destroy()
    this.#outcome.reject(new ProxyError('dial.failed', detail, { side: 'target' }))
  }

  #judge(chunk: Uint8Array): void {
    this.#step(() => {
      this.#out.begin('target', chunk)
      const to = this.#half.bytes('target', chunk, 0, this.#out)
      if (to < chunk.length) this.#side.hold(chunk.subarray(to))
    })
  }

  #tell(event: Parameters<FramedSession['event']>[0]): void {
    this.#step(() => {
      this.#out.begin()
      this.#half.event(event, this.#out)
    })
    const held = this.#done ? undefined : this.#side.takeHeld()
    if (held !== undefined && held.length > 0) this.#judge(held)
  }

  #step(decide: () => void): void {
    if (this.#done) return
    try {
      decide()
      const { toTarget, actions } = this.#out.collect()
      this.#side.write(toTarget)
      for (const action of actions) this.#act(action)
      // Held bytes wait for an event; until then nothing more is read.
      if (!this.#done) this.#side.flow(this.#side.held.length === 0)
    } catch (error) {
      this.#services.log.error('an agent half failed', { error: String(error) })
      this.fail('the login failed inside Sluice')
    }
  }

  #act(action: Action): void {
    if (this.#done) return
    switch (action.kind) {
      case 'upgrade-tls':
        return this.#upgrade()
      case 'ready':
        return this.#ready(action.first)
      case 'end':
        return this.fail(action.reason)
      case 'audit':
        return this.#services.audit(action.code, action.fields)
      case 'authorize':
      case 'dial':
      case 'signal':
      case 'signal-key':
      case 'wake-at':
        throw new Error(`an agent half may not ask for ${action.kind}`)
    }
  }

  #upgrade(): void {
    const { tls } = this.#dialled
    const plain = this.#side.detach()
    if (tls === undefined || plain === undefined)
      return this.fail('the target wants TLS, and none is configured')
    connectTls(plain.socket, plain.rest, tls).then(
      (socket) => {
        if (this.#done) {
          socket.destroy()
          return
        }
        this.#side.attach(socket)
        const endPoint = endPointOf(socket)
        this.#tell({
          kind: 'tls',
          side: 'target',
          ...(endPoint === undefined ? {} : { endPoint }),
        })
      },
      (error: unknown) => this.fail(error instanceof Error ? error.message : String(error)),
    )
  }

  #ready(first: Uint8Array | undefined): void {
    // After this chunk: what it left unconsumed is held by then.
    const given = this.#side.detach()
    if (given === undefined) return this.fail('the target is gone')
    this.#finish()
    const bytes = first === undefined ? given.rest : Buffer.concat([first, given.rest])
    return this.#outcome.resolve({ socket: given.socket, first: bytes })
  }

  #finish(): void {
    this.#done = true
    this.#settle()
  }
}
