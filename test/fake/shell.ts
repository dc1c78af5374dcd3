// A streaming protocol that asks its host what SSH asks, in lines: `CERT <base64>` shows a certificate, `LOGIN <login> <resource>` asks
// for it, `TERM <sid>` says that the program has a terminal; then bytes both ways with a program on the machine. It stands for SSH
// wherever a test is about the thread around it.

import type { TargetRef } from '../../core/identity.ts'
import type { Host, Peer, Refusal, StreamingProtocol } from '../../core/protocol.ts'
import type { TerminalRecorder } from '../../core/ssh/services.ts'
import type { ByteStream } from '../../core/stream.ts'

const LINE_BYTES_MAX = 16 * 1024

export const shell: StreamingProtocol = {
  name: 'shell',
  shape: 'streaming',
  kind: 'node',
  alpn: [],
  defaultPort: 22,
  recognise: () => ({ verdict: 'no' }),
  session: (client, { target }, host, signal) => new Shell(client, target, host).serve(signal),
}

class Shell {
  readonly #client: ByteStream
  readonly #target: TargetRef
  readonly #host: Host
  #certificate: Uint8Array | undefined
  #recorder: TerminalRecorder | undefined

  constructor(client: ByteStream, target: TargetRef | undefined, host: Host) {
    if (target === undefined) throw new Error('a shell is on a target')
    this.#client = client
    this.#target = target
    this.#host = host
    this.#certificate = host.ssh?.forwarded?.certificate
  }

  async serve(signal: AbortSignal): Promise<void> {
    const ended = new Promise<Refusal>((resolve) =>
      signal.addEventListener('abort', () => resolve(signal.reason as Refusal)),
    )
    const over = await Promise.race([ended, this.#talk(signal)])
    if (over !== undefined) await this.#say(`BYE ${over.reason}`)
    await this.#recorder?.seal(over?.reason ?? 'closed')
  }

  async #talk(signal: AbortSignal): Promise<undefined> {
    for (;;) {
      const [word, value = '', more = ''] = (await this.#line()).split(' ')
      if (word === '') return undefined
      if (word === 'CERT') this.#certificate = Buffer.from(value, 'base64')
      if (word === 'LOGIN' && (await this.#login(value, more, signal))) return undefined
    }
  }

  async #login(principal: string, resource: string, signal: AbortSignal): Promise<boolean> {
    const { ssh } = this.#host
    if (ssh === undefined) throw new Error('no host of SSH')
    const peer = await this.#host.identify(this.#certificate ?? new Uint8Array(0))
    if (!isPeer(peer)) return await this.#say(`NO ${peer.reason}`)
    const right = await this.#host.authorize(peer, { target: this.#target, principal, resource })
    if ('reason' in right) return await this.#say(`NO ${right.reason}`)
    const access = await ssh.reach(right, signal)
    if (access.kind !== 'machine') throw new Error('no machine')
    const sid = await this.#welcome()
    if (sid !== '') {
      const start = { sid, columns: 80, rows: 24, term: 'xterm', fields: { sid } }
      const recorder = ssh.record(right, start)
      if (recorder !== undefined && 'reason' in recorder)
        return await this.#say(`NO ${recorder.reason}`)
      this.#recorder = recorder
    }
    const { io } = await access.machine.start({ program: { kind: 'shell' }, env: {} })
    await Promise.all([this.#copy(this.#client, io), this.#copy(io, this.#client, true)])
    return true
  }

  async #welcome(): Promise<string> {
    await this.#say('IN')
    const [word, value = ''] = (await this.#line()).split(' ')
    return word === 'TERM' ? value : ''
  }

  async #copy(from: ByteStream, to: ByteStream, shown = false): Promise<void> {
    for (;;) {
      const chunk = await from.read()
      if (chunk === undefined) return await to.end()
      this.#host.active?.()
      if (shown) this.#recorder?.print(chunk)
      if (shown && this.#recorder?.full === true) await this.#recorder.ready()
      await to.write(chunk)
    }
  }

  async #say(words: string): Promise<false> {
    await this.#client.write(Buffer.from(`${words}\n`))
    return false
  }

  /** '' at the end. */
  async #line(): Promise<string> {
    let held = Buffer.alloc(0)
    for (;;) {
      const at = held.indexOf('\n')
      if (at >= 0) {
        if (at + 1 < held.length) this.#client.unread(held.subarray(at + 1))
        return held.toString('utf8', 0, at)
      }
      const chunk = await this.#client.read()
      if (chunk === undefined || held.length > LINE_BYTES_MAX) return ''
      held = Buffer.concat([held, chunk])
    }
  }
}

function isPeer(value: Peer | Refusal): value is Peer {
  return 'identity' in value
}
