// SSH for the contract suite: our own client, one command whose input and output are the session's bytes, and a machine whose one program
// is the target's stream.

import assert from 'node:assert/strict'

import type { Host, Recognition } from '../../core/protocol.ts'
import type { Machine, Program } from '../../core/ssh/machine.ts'
import type { SshServices } from '../../core/ssh/services.ts'
import type { ByteStream } from '../../core/stream.ts'
import { channelStream } from '../../protocols/ssh/channel-stream.ts'
import { clientOn } from '../../protocols/ssh/session.fixture.ts'
import type { SshChannel } from '../../protocols/ssh/transport/channel.ts'
import { certificate, keyOf } from '../../protocols/ssh/transport/pair.fixture.ts'
import { FakeTimers } from '../../workers/timers.ts'
import type { StreamingScript } from '../streaming.ts'

export const sshFirsts: readonly {
  readonly bytes: Uint8Array
  readonly verdict: Recognition['verdict']
}[] = [
  { bytes: Buffer.from('SSH-'), verdict: 'mine' },
  { bytes: Buffer.from('SSH '), verdict: 'no' },
  { bytes: Buffer.from('GET /'), verdict: 'no' },
]

export const sshScript: StreamingScript = {
  hello(client) {
    const { connected, banner } = clientOn(client)
    const channel = connected.then(async ({ connection }) => {
      const opened = await connection.open({ kind: 'session' })
      // Before anything is asked: what a person is told comes to either stream.
      void opened.closed.then(() => connection.end())
      await opened.request({ kind: 'exec', command: Buffer.from('cat') })
      return opened
    })
    channel.catch(() => undefined)
    const words = async (): Promise<Buffer> => {
      const said = await channel.then(textOf, () => '')
      const farewell = await connected.then(
        ({ connection }) => connection.closed.then(() => connection.farewell),
        () => '',
      )
      return Buffer.from(banner() + said + farewell)
    }
    return Promise.resolve({ stream: later(channel.then(channelStream)), words })
  },
  heard: (words, decisionId) => words.toString().includes(`(decision ${decisionId})`),
  services: (dial) => ({ ssh: services(dial) }),
}

async function textOf(channel: SshChannel): Promise<string> {
  let text = ''
  for (let data = await channel.read(); data !== undefined; data = await channel.read())
    text += Buffer.from(data.bytes).toString()
  return text
}

/** A stream that is not there yet. */
function later(stream: Promise<ByteStream>): ByteStream {
  const closed = stream.then((each) => each.closed)
  // Whoever uses it hears that it never came.
  closed.catch(() => undefined)
  return {
    read: async () => (await stream).read(),
    write: async (bytes) => (await stream).write(bytes),
    unread: () => assert.fail('nobody puts back what is not there yet'),
    end: () => stream.then((each) => each.end()).catch(() => undefined),
    abort: (cause) =>
      void stream.then(
        (each) => each.abort(cause),
        () => undefined,
      ),
    closed,
  }
}

function services(dial: Host['dial']): SshServices {
  const key = keyOf('ed25519')
  return {
    timers: new FakeTimers(),
    environment: {},
    auditRoom: () => undefined,
    hostKeys: [{ certificate: certificate(key, { kind: 'host' }), key }],
    reach: async (right, signal) => ({
      kind: 'machine',
      machine: machineOf(await dial(right, signal)),
    }),
    record: () => undefined,
  }
}

function machineOf(io: ByteStream): Machine {
  const program: Program = {
    io,
    exit: Promise.resolve({ kind: 'status', code: 0 }),
    resize: () => undefined,
    signal: () => undefined,
    end: () => undefined,
  }
  const no = (): Promise<never> => Promise.reject(new Error('not in this script'))
  return {
    start: () => Promise.resolve(program),
    connect: no,
    listen: no,
    agentSocket: no,
    x11: no,
    end: () => io.abort(new Error('the machine ended')),
  }
}
