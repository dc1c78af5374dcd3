// Files by the programs people use: scp over its new protocol and its old one, sftp, rsync, git, sshfs. Each moves them both ways, and
// what arrived is compared.

import { deepEqual, equal, match } from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'

import type { Output } from '../fixtures/processes.ts'
import { digestOf, randomFile } from './bytes.ts'
import { type Cell, opensshOnly, without } from './seat.ts'

const BYTES = 3_000_001

/** Over SFTP or, with -O, over the protocol of rcp. Before 8.7 there was the old one alone, and no option for it. */
function scp(row: string, old: boolean): Cell {
  return {
    row,
    lacks: without('scp'),
    async run(seat) {
      const version = seat.parts.client.openssh?.version ?? 0
      const flags = old && version >= 8.7 ? ['-O'] : []
      const [from, back] = [seat.here('scp'), seat.here('scp.back')]
      const digest = await randomFile(from, BYTES)
      await chmod(from, 0o640)
      const copy = seat.words('scp', ['-p', ...flags])
      silent(await seat.run([...copy, from, seat.address('scp')]))
      equal(await digestOf(seat.there('scp')), digest)
      equal((await stat(seat.there('scp'))).mode & 0o777, 0o640)
      silent(await seat.run([...copy, seat.address('scp'), back]))
      equal(await digestOf(back), digest)
      await mkdir(seat.here('tree/with space'), { recursive: true })
      await writeFile(seat.here('tree/with space/ä'), 'deep')
      silent(await seat.run([...copy, '-r', seat.here('tree'), seat.address('')]))
      equal(await readFile(seat.there('tree/with space/ä'), 'utf8'), 'deep')
      const missing = await seat.run([...copy, seat.address('nothing'), back])
      deepEqual([missing.code, /no such file/i.test(missing.stderr)], [1, true])
    },
  }
}

const SFTP: Cell = {
  row: 'sftp, a batch',
  lacks: without('sftp'),
  async run(seat) {
    const [from, back] = [seat.here('sftp'), seat.here('sftp.back')]
    const digest = await randomFile(from, BYTES)
    const batch = [
      `cd ${seat.parts.remote}`,
      `put ${from} first`,
      'rename first second',
      'symlink second link',
      'mkdir folder',
      'chmod 600 second',
      'ls -1',
      `get link ${back}`,
      'rm link',
      'rmdir folder',
      // A dash: it goes on behind a command that fails.
      '-rm nothing',
      'pwd',
    ]
    const where = `${seat.parts.login}@${seat.parts.host}`
    const words = seat.words('sftp', ['-b', '-', where])
    const { code, stdout, stderr } = await seat.run(words, { input: `${batch.join('\n')}\n` })
    equal(code, 0, stderr)
    match(stdout, /^folder/m)
    match(stdout, new RegExp(`Remote working directory: ${seat.parts.remote}`))
    deepEqual([await digestOf(back), await digestOf(seat.there('second'))], [digest, digest])
    equal((await stat(seat.there('second'))).mode & 0o777, 0o600)
    const names = await readdir(seat.parts.remote)
    equal(names.includes('link') || names.includes('folder'), false)
  },
}

const RSYNC: Cell = {
  row: 'rsync both ways',
  lacks: opensshOnly,
  async run(seat) {
    await mkdir(seat.here('sync/deep'), { recursive: true })
    const digest = await randomFile(seat.here('sync/deep/big'), BYTES)
    await symlink('deep/big', seat.here('sync/link'))
    const rsync = ['/usr/bin/rsync', '-a', '--delete', '--checksum', '-e', seat.sshLine()]
    silent(await seat.run([...rsync, `${seat.here('sync')}/`, seat.address('sync')]))
    equal(await digestOf(seat.there('sync/link')), digest)
    // The second time only the difference travels, and what is gone goes there too.
    await writeFile(seat.here('sync/deep/small'), 'small')
    await writeFile(seat.there('sync/stranger'), 'not ours')
    const again = await seat.run([
      ...rsync,
      '--itemize-changes',
      `${seat.here('sync')}/`,
      seat.address('sync'),
    ])
    silent(again)
    match(again.stdout, /^\*deleting +stranger$/m)
    match(again.stdout, /^<f\S+ deep\/small$/m)
    equal(/big/.test(again.stdout), false)
    silent(await seat.run([...rsync, `${seat.address('sync')}/`, seat.here('sync.back')]))
    equal(await digestOf(seat.here('sync.back/deep/big')), digest)
  },
}

const GIT: Cell = {
  row: 'git push, clone and fetch',
  lacks: opensshOnly,
  async run(seat) {
    const made = await seat.exec(`git init -q --bare -b main '${seat.there('git')}'`)
    equal(made.code, 0, made.stderr)
    const env = { GIT_SSH_COMMAND: seat.sshLine(), GIT_CONFIG_GLOBAL: '/dev/null' }
    const git = async (folder: string, ...args: readonly string[]): Promise<Output> => {
      const who = ['-c', 'user.name=test', '-c', 'user.email=test@localhost']
      const output = await seat.run(['/usr/bin/git', '-C', folder, ...who, ...args], { env })
      equal(output.code, 0, output.stderr)
      return output
    }
    const [one, two] = [seat.here('one'), seat.here('two')]
    await mkdir(one)
    await git(one, 'init', '-q', '-b', 'main')
    const digest = await randomFile(`${one}/big`, BYTES)
    await git(one, 'add', 'big')
    await git(one, 'commit', '-q', '-m', 'first')
    await git(one, 'push', '-q', seat.address('git'), 'main')
    await git(seat.parts.folder, 'clone', '-q', seat.address('git'), two)
    equal(await digestOf(`${two}/big`), digest)
    await git(one, 'commit', '-q', '--allow-empty', '-m', 'second')
    await git(one, 'push', '-q', seat.address('git'), 'main')
    await git(two, 'pull', '-q', '--ff-only')
    equal((await git(two, 'log', '-1', '--format=%s')).stdout, 'second\n')
  },
}

const SSHFS: Cell = {
  row: 'sshfs: mount, read, write, unmount',
  lacks: opensshOnly,
  async run(seat) {
    const place = seat.here('mount')
    await mkdir(place)
    const digest = await randomFile(seat.there('seen'), BYTES)
    // It goes to the background once it is mounted; what it keeps open then must not be the pipes of this test.
    const quiet = ['/bin/sh', '-c', 'exec "$@" >"$LOG" 2>&1 </dev/null', 'sh']
    const sshfs = ['/usr/bin/sshfs', seat.address(''), place]
    const through = ['-o', `ssh_command=${seat.words('ssh').join(' ')}`]
    const LOG = seat.here('sshfs.log')
    const { code } = await seat.run([...quiet, ...sshfs, ...through], { env: { LOG } })
    equal(code, 0, await readFile(LOG, 'utf8'))
    try {
      equal(await digestOf(`${place}/seen`), digest)
      const written = await randomFile(`${place}/written`, BYTES)
      equal(await digestOf(seat.there('written')), written)
      equal((await readdir(place)).includes('written'), true)
    } finally {
      silent(await seat.run(['/usr/bin/fusermount3', '-u', place]))
    }
    deepEqual([await readdir(place), await readFile(LOG, 'utf8')], [[], ''])
  },
}

export const SCP_AND_SFTP: readonly Cell[] = [
  scp('scp both ways', false),
  scp('scp both ways, the old protocol', true),
  SFTP,
]

export const RSYNC_AND_GIT: readonly Cell[] = [RSYNC, GIT]

export const MOUNTED: readonly Cell[] = [SSHFS]

function silent({ code, stderr }: Output): void {
  deepEqual([code, stderr], [0, ''])
}
