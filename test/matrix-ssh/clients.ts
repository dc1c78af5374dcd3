// The real SSH clients of the matrix: OpenSSH of Debian 12, and of an older and two newer releases (which scripts/openssh-clients.mjs
// fetched). A client is a way to make command lines; one that is not OpenSSH has no configuration file and says which programs it lacks.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { NODE_FLAGS } from '../fixtures/processes.ts'

const MAIN = join(import.meta.dirname, '../../cli/main.ts')
const CACHE = join(import.meta.dirname, '../../.cache/openssh-clients')

export type Program = 'ssh' | 'scp' | 'sftp' | 'ssh-add' | 'ssh-agent'

export interface SshClient {
  readonly name: string
  /** Knows the options, the configuration and the words of OpenSSH; of another client the cells want less. */
  readonly openssh?: OpenSsh
  /** The words that begin a command line of this program, or the reason why there is none. */
  command(program: Program, config: string): readonly string[] | string
}

interface OpenSsh {
  /** Major and minor, as in 9.2. */
  readonly version: number
}

/** Debian 12's own: all that the fast tests use. */
export const OPENSSH: SshClient = openssh('/usr/bin')

/** Our own; it reads no configuration file: it finds its login by SLUICE_HOME. */
export const TSH: SshClient = {
  name: 'tsh',
  command(program) {
    if (program !== 'ssh' && program !== 'scp') return `tsh has no ${program}`
    return [process.execPath, ...NODE_FLAGS, MAIN, 'tsh', program]
  },
}

/** Those of other releases; they are there in full tests only. */
export function otherReleases(): readonly SshClient[] {
  return ['bullseye', 'trixie', 'forky'].map((suite) => openssh(binOf(suite)))
}

/** Where the programs of another release are, `sshd` among them. */
export function binOf(suite: string): string {
  const bin = join(CACHE, suite, 'bin')
  if (!existsSync(bin)) throw new Error(`no OpenSSH of ${suite}: run this file by npm test`)
  return bin
}

function openssh(bin: string): SshClient {
  const version = versionOf(bin)
  return {
    name: `OpenSSH ${version}`,
    openssh: { version: Number(version) },
    command(program, config) {
      const configured = program === 'ssh' || program === 'scp' || program === 'sftp'
      return [join(bin, program), ...(configured ? ['-F', config] : [])]
    },
  }
}

/** As its own `ssh -V` says it: 10.0. */
export function versionOf(bin: string): string {
  const said = spawnSync(join(bin, 'ssh'), ['-V'], { encoding: 'utf8' }).stderr
  const [, version] = /^OpenSSH_(\d+\.\d+)/.exec(said) ?? []
  if (version === undefined) throw new Error(`the ssh in ${bin} says ${said}`)
  return version
}
