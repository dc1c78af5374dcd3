// Large objects by psql's commands, which are function calls on the wire: a file goes in, is read in pieces, and comes out again.

import { equal, match } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { alike, type Cell } from './seat.ts'

const OBJECT_BYTES = 5_000_001

export const LARGE_OBJECTS: Cell = {
  row: 'large objects',
  async run(seat) {
    const [file, back] = [join(seat.folder, 'object'), join(seat.folder, 'object-back')]
    const bytes = randomBytes(OBJECT_BYTES)
    await writeFile(file, bytes)
    const said = await alike(seat, async (way) => {
      const script = [
        `\\lo_import '${file}' 'a comment'`,
        `SELECT md5(lo_get(:LASTOID)), length(lo_get(:LASTOID));`,
        `\\lo_export :LASTOID '${back}'`,
        `\\lo_unlink :LASTOID`,
        `\\lo_unlink :LASTOID`,
      ]
      const { code, stdout, stderr } = await way.psql([], {}, { input: script.join('\n') })
      equal(code, 0, stderr)
      equal(bytes.equals(await readFile(back)), true, 'what came out is not what went in')
      // Object ids are the server's to choose.
      return `${stdout}${stderr}`.replaceAll(/(lo_import|lo_unlink|object) \d+/g, '$1 N')
    })
    match(said, new RegExp(String(OBJECT_BYTES)))
    match(said, /large object N does not exist/)
  },
}
