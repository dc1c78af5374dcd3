// Scripts of the fake line protocol.

import type { SessionEvent } from '../../core/protocol.ts'
import type { FramedScripts } from '../contract.ts'
import { line } from '../fake/line.ts'
import type { Step } from '../fake/rig.ts'
import { peer, right, target } from './people.ts'

const event = (event: SessionEvent): Step => ({ event })
const says = (from: 'client' | 'target', text: string): Step => ({ from, bytes: Buffer.from(text) })

const hello = 'HELLO alice app\n'
const login = {
  right,
  opening: Buffer.from(hello),
  certificate: true,
  tls: 'off',
  servername: 'db.internal',
  random: new Uint8Array(32),
} as const

export const lineScripts: FramedScripts = {
  firsts: [
    { bytes: Buffer.from('LINE'), verdict: 'mine' },
    { bytes: Buffer.from('LIME'), verdict: 'no' },
  ],
  sessions: [
    {
      name: 'a session of three lines',
      open: () => line.session(),
      steps: [
        event({ kind: 'start', stage: '', target, nowMs: 0 }),
        event({ kind: 'tls', side: 'client', peer, alpn: 'line' }),
        says('client', hello),
        event({ kind: 'authorized', right }),
        event({ kind: 'connected' }),
        says('target', 'WELCOME\n'),
        says('client', 'one\ntwo\n'),
        { ...says('target', 'ans'), deaf: true },
        says('target', 'wer\n'),
        event({ kind: 'ended', side: 'client' }),
        event({ kind: 'ended', side: 'target' }),
      ],
    },
  ],
  agents: [
    {
      name: 'a login',
      open: () => line.agent(login),
      steps: [
        event({ kind: 'start', stage: '', target, nowMs: 0 }),
        says('target', 'WELCOME\nmore\n'),
      ],
    },
  ],
  heard: (written, decisionId) => written.toString().endsWith(`NO ${decisionId}\n`),
}
