// A disk of a few megabytes over one folder, which a test fills up and frees again: the kernel itself says ENOSPC to whatever
// writes there. It is a tmpfs, so it needs the right to mount. A test that cannot have one fails and says what is missing:
// a fault that was not tried must not look like one that was survived.

import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'

import { atEnd, type Cleanup } from '../fixtures/files.ts'
import { alive } from '../fixtures/processes.ts'

/** With the pid behind it, the source of a mount. */
const SOURCE = 'sluice-test-'
const PIECE = Buffer.alloc(64 * 1024, 0x2e)

export class SmallDisk {
  readonly folder: string
  readonly #ballast: string

  private constructor(folder: string) {
    this.folder = folder
    this.#ballast = join(folder, '.ballast')
  }

  /** Mounts it over the folder, which is made when it is absent; unmounted at the end. */
  static mount(cleanup: Cleanup, folder: string, bytes: number): SmallDisk {
    mkdirSync(folder, { recursive: true })
    unmountLeftOvers()
    const options = `size=${bytes},mode=0700`
    const done = spawnSync('/usr/bin/mount', [
      '-t',
      'tmpfs',
      '-o',
      options,
      `${SOURCE}${process.pid}`,
      folder,
    ])
    if (done.status !== 0) throw new Error(cannotMount(String(done.error ?? done.stderr).trim()))
    // Lazily: a program that was killed may not be quite gone.
    atEnd(cleanup, () => unmount(folder))
    return new SmallDisk(folder)
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.folder)
    return bavail * bsize
  }

  /** Takes every free byte. */
  fill(): void {
    for (let piece = PIECE; piece.length > 0; )
      try {
        appendFileSync(this.#ballast, piece, { mode: 0o600 })
      } catch (error) {
        if (!isFull(error)) throw error
        piece = piece.subarray(0, Math.floor(piece.length / 2))
      }
  }

  free(): void {
    rmSync(this.#ballast, { force: true })
  }
}

/** What test processes left that were killed: a disk's source names the process that mounted it. */
function unmountLeftOvers(): void {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [source = '', folder = ''] = line.split(' ')
    const pid = Number(source.startsWith(SOURCE) ? source.slice(SOURCE.length) : process.pid)
    if (pid > 0 && !alive(pid)) unmount(folder)
  }
}

function unmount(folder: string): void {
  spawnSync('/usr/bin/umount', ['--lazy', folder])
}

function cannotMount(reason: string): string {
  return `a full disk cannot be tried here: this process may not mount a small filesystem (mount said: ${reason}). \
Run the tests as root with CAP_SYS_ADMIN; in a container: --cap-add SYS_ADMIN.`
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOSPC'
}
