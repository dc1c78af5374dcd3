// Ansible as it comes: it multiplexes over one connection that stays, pipes Python through a shell, and copies by sftp, scp or dd.

import { deepEqual, equal, match } from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'

import type { Output } from '../fixtures/processes.ts'
import { digestOf, randomFile } from './bytes.ts'
import { type Cell, opensshOnly, type Seat } from './seat.ts'

const BYTES = 300_001
const WAYS = ['sftp', 'scp', 'piped'] as const

const RUNS: Cell = {
  row: 'ansible: ping and command',
  lacks: opensshOnly,
  async run(seat) {
    const ansible = await Ansible.at(seat, {})
    try {
      match((await ansible.run('ping')).stdout, /"ping": "pong"/)
      const { stdout } = await ansible.run('command', 'id -un')
      match(stdout, new RegExp(`rc=0 >>\n${seat.parts.login}\n`))
      const failed = await ansible.run('command', '/bin/false')
      deepEqual([failed.code, /non-zero return code/.test(failed.stdout)], [2, true])
    } finally {
      await ansible.hangUp()
    }
  },
}

const COPIES: readonly Cell[] = WAYS.map((way) => ({
  row: `ansible: copy and fetch by ${way}`,
  lacks: opensshOnly,
  async run(seat) {
    const ansible = await Ansible.at(seat, { ANSIBLE_SSH_TRANSFER_METHOD: way })
    try {
      const [from, to, back] = [
        seat.here(`a-${way}`),
        seat.there(`a-${way}`),
        seat.here(`b-${way}`),
      ]
      const digest = await randomFile(from, BYTES)
      const copied = await ansible.run('copy', `src=${from} dest=${to} mode=0600`)
      deepEqual([copied.code, await digestOf(to)], [0, digest], copied.stdout)
      const fetched = await ansible.run('fetch', `src=${to} dest=${back} flat=yes`)
      deepEqual([fetched.code, await digestOf(back)], [0, digest], fetched.stdout)
    } finally {
      await ansible.hangUp()
    }
  },
}))

export const ANSIBLE: readonly Cell[] = [RUNS, ...COPIES]

class Ansible {
  readonly #seat: Seat
  readonly #env: NodeJS.ProcessEnv
  readonly #inventory: string
  readonly #sockets: string

  private constructor(seat: Seat, env: NodeJS.ProcessEnv, inventory: string, sockets: string) {
    this.#seat = seat
    this.#env = env
    this.#inventory = inventory
    this.#sockets = sockets
  }

  static async at(seat: Seat, more: NodeJS.ProcessEnv): Promise<Ansible> {
    const [inventory, sockets] = [seat.here('inventory'), seat.here('cp')]
    await mkdir(sockets, { recursive: true })
    // Without one of our own it looks for somebody else's.
    const settings = seat.here('ansible.cfg')
    await writeFile(settings, '[defaults]\n')
    const { host, login, config } = seat.parts
    const python = 'ansible_python_interpreter=/usr/bin/python3'
    await writeFile(inventory, `${host} ansible_user=${login} ${python}\n`)
    const program = (name: 'ssh' | 'scp' | 'sftp'): string => seat.words(name)[0] ?? ''
    const env = {
      ANSIBLE_CONFIG: settings,
      ANSIBLE_NOCOLOR: '1',
      ANSIBLE_LOCALHOST_WARNING: 'false',
      ANSIBLE_SSH_EXECUTABLE: program('ssh'),
      ANSIBLE_SCP_EXECUTABLE: program('scp'),
      ANSIBLE_SFTP_EXECUTABLE: program('sftp'),
      ANSIBLE_SCP_EXTRA_ARGS: scpArguments(seat),
      ANSIBLE_REMOTE_TEMP: seat.there('.ansible'),
      ANSIBLE_SSH_CONTROL_PATH_DIR: sockets,
      // Its own default, and our configuration.
      ANSIBLE_SSH_ARGS: `-C -o ControlMaster=auto -o ControlPersist=60s -F ${config}`,
      ...more,
    }
    return new Ansible(seat, env, inventory, sockets)
  }

  async run(module: string, args?: string): Promise<Output> {
    const rest = args === undefined ? [] : ['-a', args]
    const words = ['/usr/bin/ansible', 'all', '-i', this.#inventory, '-m', module, ...rest]
    const output = await this.#seat.run(words, { env: this.#env, timeoutMs: 120_000 })
    if (module !== 'command') equal(output.code, 0, `${output.stdout}${output.stderr}`)
    return output
  }

  /** Ends the connections that it leaves open for the next one; their sockets go with them. */
  async hangUp(): Promise<void> {
    const { host } = this.#seat.parts
    for (const name of await readdir(this.#sockets)) {
      const words = ['-o', `ControlPath=${this.#sockets}/${name}`, '-O', 'exit', host]
      const { code, stderr } = await this.#seat.run(this.#seat.words('ssh', words))
      equal(code, 0, `${name}: ${stderr}`)
    }
  }
}

/** Its own quoting is for the old protocol: over SFTP scp would look for a file with quotes in its name. */
function scpArguments(seat: Seat): string {
  return (seat.parts.client.openssh?.version ?? 0) >= 8.7 ? '-O' : ''
}
