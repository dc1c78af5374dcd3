// The small disk itself: it is full when a test says so, has room again afterwards, and none stays behind that a killed test left.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openFolder } from '../fixtures/files.ts'
import { SmallDisk } from './small-disk.ts'

const MB = 1024 * 1024
/** Above every pid that Linux gives. */
const NOBODY = 2 ** 23

describe('A small disk', () => {
  it('takes what fits, nothing when it is filled, and again when it is freed', async (context) => {
    const disk = SmallDisk.mount(context, join(await openFolder(context), 'data'), MB)
    const file = join(disk.folder, 'log')
    writeFileSync(file, 'kept')
    disk.fill()
    assert.equal(disk.freeBytes, 0)
    assert.throws(() => appendFileSync(file, Buffer.alloc(8192)), /ENOSPC/)
    assert.ok(readFileSync(file, 'utf8').startsWith('kept'))
    disk.free()
    appendFileSync(file, Buffer.alloc(8192))
  })

  it('is unmounted for whoever was killed before they could', async (context) => {
    const left = join(await openFolder(context), 'left')
    mkdirSync(left)
    const args = ['-t', 'tmpfs', '-o', 'size=65536', `sluice-test-${NOBODY}`, left]
    assert.equal(spawnSync('/usr/bin/mount', args).status, 0)
    assert.ok(readFileSync('/proc/mounts', 'utf8').includes(left))
    const { folder } = SmallDisk.mount(context, join(await openFolder(context), 'data'), MB)
    const mounts = readFileSync('/proc/mounts', 'utf8')
    assert.ok(mounts.includes(folder) && !mounts.includes(left))
  })
})
