// A terminal's recording beside itself as a flat file, which `cat` replays: what was shown, filtered of everything that a terminal
// would answer or act on. Written whole or not at all; made anew from the recording whenever it is missing.

import type { FileHandle } from 'node:fs/promises'
import { open, rename } from 'node:fs/promises'

import { RecordingChain } from '../core/recording/chain.ts'
import { unpackEvents } from '../core/recording/events.ts'
import type { Chunk } from '../core/recording/format.ts'
import { TerminalFilter } from '../core/recording/terminal-filter.ts'

/** Writes `file` from the bytes of a whole recording. Holds one chunk at a time. */
export async function writeFlat(recording: AsyncIterable<Uint8Array>, file: string): Promise<void> {
  const fresh = `${file}.new`
  const handle = await open(fresh, 'w', 0o600)
  try {
    const chain = new RecordingChain()
    const filter = new TerminalFilter()
    for await (const bytes of recording) {
      const chunks = chain.push(bytes)
      if (typeof chunks !== 'string') await writeShown(handle, chunks, filter)
    }
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(fresh, file)
}

async function writeShown(
  handle: FileHandle,
  chunks: readonly Chunk[],
  filter: TerminalFilter,
): Promise<void> {
  for (const chunk of chunks)
    for (const event of unpackEvents(chunk))
      if (event.kind === 'print') await handle.writeFile(filter.push(event.bytes))
}
