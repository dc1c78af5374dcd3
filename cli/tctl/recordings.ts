// `tctl recordings`: list, carry away and check recordings of sessions. `verify` reads every chunk and names each damage with its place;
// of a session's id it reads what control has, and compares that with what the audit log was told of it, else a file.

import { open } from 'node:fs/promises'

import type { ControlClient } from '../../control/api/client.ts'
import type { Damage } from '../../core/recording/verify.ts'
import { type CommandSpec, type Input, usage } from '../command.ts'
import { LIST_OPTIONS, listRecordings } from '../recording/list.ts'
import {
  fileBytes,
  isStored,
  RecordingReader,
  refuseDamaged,
  storedBytes,
} from '../recording/read.ts'
import { ToldChunks } from '../recording/told.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'

export const recordingsLs: CommandSpec = {
  options: LIST_OPTIONS,
  examples: ['tctl recordings ls', 'tctl recordings ls --last=7d --format=json'],
  async run(input, tools) {
    await withAdministrator(tools, input, (client) => listRecordings(client, input, tools))
  },
}

export const recordingsExport: CommandSpec = {
  takes: '<session>',
  options: [{ flags: '-o, --out <file>', about: 'a new file; <session>.rec when absent' }],
  about: 'Writes the recording as it is, for tsh play and tctl recordings verify.',
  examples: ['tctl recordings export 0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11 --out=session.rec'],
  async run(input, tools) {
    const sid = input.arg(0)
    if (!isStored(sid)) throw usage(`"${sid}" is no id of a session`, 'tctl recordings ls')
    const file = input.text('out') ?? `${sid}.rec`
    await withAdministrator(tools, input, async (client) => {
      // Never over something that is there.
      const handle = await open(file, 'wx', 0o600)
      try {
        for await (const bytes of storedBytes(client, sid)) await handle.writeFile(bytes)
      } finally {
        await handle.close()
      }
    })
    tools.out(`${file}\n`)
  },
}

export const recordingsVerify: CommandSpec = {
  takes: '<session>',
  options: [{ flags: '--format <format>', about: 'text, json', choices: ['text', 'json'] }],
  about: 'Ends with status 1 when the recording is damaged, and names each damage with its offset.',
  examples: [
    'tctl recordings verify 0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11',
    'tctl recordings verify session.rec',
  ],
  async run(input, tools) {
    const name = input.arg(0)
    const checked = isStored(name)
      ? await withAdministrator(tools, input, (client) => checkStored(client, name))
      : await readWhole(new RecordingReader(fileBytes(name)))
    report(checked, input, tools)
  },
}

interface Checked {
  readonly reader: RecordingReader
  readonly damages: readonly Damage[]
  /** Hashes of the audit log that it was compared with; undefined: there is no log to ask. */
  readonly compared?: number
}

async function checkStored(client: ControlClient, name: string): Promise<Checked> {
  const told = new ToldChunks()
  const source = storedBytes(client, name)
  const reader = new RecordingReader(source, (chunk) => told.saw(chunk))
  const { damages } = await readWhole(reader)
  const sid = name.toLowerCase()
  const { compared, replaced } = await told.compare(client, sid, reader.header?.startedAtMs)
  return { reader, damages: [...damages, ...replaced], compared }
}

async function readWhole(reader: RecordingReader): Promise<Checked> {
  for await (const _ of reader.events()) continue
  return { reader, damages: reader.damages }
}

function report({ reader, damages, compared }: Checked, input: Input, tools: Tools): void {
  const { chunks, bytes, header } = reader
  const ok = damages.length === 0
  const log =
    compared === undefined
      ? 'not compared with the audit log'
      : `as ${compared} events of the audit log say`
  if (input.text('format') === 'json')
    tools.out(`${JSON.stringify({ ok, header, chunks, bytes, compared, damages }, undefined, 2)}\n`)
  else if (ok) tools.out(`The recording is whole: ${chunks} chunks, ${bytes} bytes; ${log}.\n`)
  refuseDamaged(damages)
}
