// `tsh play`: a recorded session again. A terminal's is replayed at its own pace; a database's is read as a timeline of statements. The
// id of a session is asked of control, which writes into the log that it was read; anything else is a file of `tctl recordings export`.

import { type CommandSpec, type Input, type Option } from '../command.ts'
import { IDLE_MS, SPEEDS } from '../recording/pace.ts'
import { Player } from '../recording/player.ts'
import {
  type Bytes,
  fileBytes,
  isStored,
  RecordingReader,
  refuseDamaged,
  Rereadable,
  storedBytes,
} from '../recording/read.ts'
import { CastWriter, JsonWriter, TextWriter, type Writer, YamlWriter } from '../recording/text.ts'
import type { Tools } from '../tools.ts'
import { withSession } from './session.ts'

const FORMATS = ['pty', 'text', 'json', 'yaml', 'cast'] as const
type Format = (typeof FORMATS)[number]

const OPTIONS: readonly Option[] = [
  {
    flags: '-f, --format <format>',
    about: `${FORMATS.join(', ')}; pty when absent`,
    choices: FORMATS,
  },
  { flags: '--speed <speed>', about: `${SPEEDS.join(', ')}; 1x when absent`, choices: SPEEDS },
  { flags: '--skip-idle-time', about: 'cut silences short' },
]

export const play: CommandSpec = {
  takes: '<session>',
  options: OPTIONS,
  about: [
    'pty replays a terminal as it was, and shows a database’s statements at once; text does not wait for anything.',
    'While a terminal is replayed: space holds it, ← and → go 10 seconds back and on, + and - change the speed, q ends it.',
    'json writes one event per line, cast an asciicast (version 2) of a terminal. Damage is named at the end, with status 1.',
  ].join('\n'),
  examples: [
    'tsh play 0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11',
    'tsh play --speed=4x --skip-idle-time 0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11',
    'tsh play --format=json session.rec',
  ],
  async run(input, tools) {
    const name = input.arg(0)
    if (!isStored(name)) return await show(() => fileBytes(name), input, tools)
    return await withSession(tools, input, ({ client }) =>
      show(() => storedBytes(client, name), input, tools),
    )
  },
}

async function show(open: () => Bytes, input: Input, tools: Tools): Promise<void> {
  const format = input.choice('format', FORMATS, 'pty')
  if (format === 'pty') return await replay(open, input, tools)
  const reader = new RecordingReader(open())
  const writer = await writerOf(format, input)
  for await (const event of reader.events()) {
    const { header } = reader
    if (header === undefined) continue
    const text = writer.event(event, header)
    if (text !== '') await tools.outSlowly(text)
  }
  return refuseDamaged(reader.damages)
}

async function replay(open: () => Bytes, input: Input, tools: Tools): Promise<void> {
  const source = new Rereadable(open)
  const player = new Player({
    open: () => new RecordingReader(source.pass()),
    pace: {
      speed: input.choice('speed', SPEEDS, '1x'),
      skipIdle: input.flag('skip-idle-time'),
    },
    clock: tools.clock,
    keys: (pressed) => tools.keys(pressed),
    sleep: (ms, signal) => tools.sleep(ms, signal),
    out: (text) => tools.outSlowly(text),
  })
  try {
    refuseDamaged(await player.play())
  } finally {
    source.close()
  }
}

async function writerOf(format: Exclude<Format, 'pty'>, input: Input): Promise<Writer> {
  switch (format) {
    case 'text':
      return new TextWriter()
    case 'json':
      return new JsonWriter()
    case 'cast':
      return input.flag('skip-idle-time') ? new CastWriter(IDLE_MS / 1000) : new CastWriter()
    case 'yaml': {
      const { stringify } = await import('yaml')
      return new YamlWriter(stringify)
    }
  }
}
