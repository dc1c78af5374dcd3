// A file that a full disk does not take is written later, and nobody who trusts what it holds has to wait.

import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { type Logger, silentLogger } from '../../core/log.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { KeptFile } from './kept-file.ts'

interface Said {
  readonly log: Logger
  readonly lines: string[]
  readonly kept: Promise<void>
}

function listener(): Said {
  const lines: string[] = []
  const { promise: kept, resolve } = Promise.withResolvers<void>()
  const error = (message: string): void => void lines.push(message)
  const info = (): void => resolve()
  return { log: { ...silentLogger, error, info }, lines, kept }
}

describe('A kept file', () => {
  it('holds what was written last, and leaves nothing beside it', async (context) => {
    const folder = await temporaryFolder(context)
    const file = new KeptFile(join(folder, 'trust.json'), silentLogger)
    assert.equal(file.read(), undefined)
    file.write('1')
    file.write('2')
    assert.equal(file.read(), '2')
    assert.deepEqual(readdirSync(folder), ['trust.json'])
  })

  it('does not throw when it cannot be written, says so once, and writes the newest text when it can', async (context) => {
    const folder = await temporaryFolder(context)
    const path = join(folder, 'trust.json')
    // A folder of that name: nothing can be renamed over it.
    mkdirSync(path)
    const { log, lines, kept } = listener()
    const file = new KeptFile(path, log)
    file.write('1')
    file.write('2')
    assert.equal(lines.length, 1)
    assert.deepEqual(readdirSync(folder), ['trust.json'])
    rmdirSync(path)
    await kept
    assert.equal(file.read(), '2')
  })

  it('tries a last time when it is closed, and then no more', async (context) => {
    const folder = await temporaryFolder(context)
    const path = join(folder, 'trust.json')
    mkdirSync(path)
    const file = new KeptFile(path, silentLogger)
    file.write('1')
    rmdirSync(path)
    file.close()
    assert.equal(file.read(), '1')
    writeFileSync(path, 'of somebody else')
    file.close()
    assert.equal(file.read(), 'of somebody else')
  })
})
