// Events of a recording as lines: a database's timeline for people, JSON and YAML for programs, asciicast version 2 for players of
// terminals. What a session said is shown, never obeyed: control characters are replaced, terminal output goes through the filter.

import type { RecordingEvent } from '../../core/recording/events.ts'
import type { RecordingHeader } from '../../core/recording/format.ts'
import { TerminalFilter } from '../../core/recording/terminal-filter.ts'
import { usage } from '../command.ts'
import { printable, timeText } from '../render.ts'

type Statement = Extract<RecordingEvent, { kind: 'statement' }>

/** Makes text of one event after the other. */
export interface Writer {
  event(event: RecordingEvent, header: RecordingHeader): string
}

const TELLING = [
  'user',
  'db_service',
  'db_user',
  'db_name',
  'login',
  'server_hostname',
  'addr.remote',
]

/** Readable: statements one per line, what a terminal showed as it was. */
export class TextWriter implements Writer {
  readonly #filter = new TerminalFilter()
  readonly #decoder = new TextDecoder()
  #terminal = false

  event(event: RecordingEvent): string {
    switch (event.kind) {
      case 'start': {
        const told = TELLING.flatMap((name) => {
          const value = event.fields[name]
          return typeof value === 'string' && value !== '' ? [`${name}=${oneLine(value)}`] : []
        })
        return `${timeText(event.atMs)}  session begins: ${told.join(' ')}\n`
      }
      case 'statement':
        return statementText(event)
      case 'print':
        this.#terminal = true
        return this.#decoder.decode(this.#filter.push(event.bytes), { stream: true })
      case 'resize':
        return ''
      case 'gap':
        return this.#ours(`${clockText(event.atMs)}  ${lostText(event.lost)}`)
      case 'end':
        return this.#ours(`${timeText(event.atMs)}  session ends: ${oneLine(event.reason)}`)
    }
  }

  /** A line of ours between what a terminal showed: on a line of its own, in no colour of that. */
  #ours(line: string): string {
    return this.#terminal ? `\u{1b}[0m\r\n${line}\r\n` : `${line}\n`
  }
}

/** One object per line. */
export class JsonWriter implements Writer {
  event(event: RecordingEvent): string {
    return `${JSON.stringify(plain(event))}\n`
  }
}

/** A list of the same objects. `stringify` is loaded by who asks for it. */
export class YamlWriter implements Writer {
  readonly #stringify: (value: unknown) => string

  constructor(stringify: (value: unknown) => string) {
    this.#stringify = stringify
  }

  event(event: RecordingEvent): string {
    return this.#stringify([plain(event)])
  }
}

const COLUMNS = 80
const ROWS = 24
const SIZE_MAX = 10_000

/** asciicast version 2: a head, then a line for each piece of output. Of a terminal only. */
export class CastWriter implements Writer {
  readonly #filter = new TerminalFilter()
  readonly #decoder = new TextDecoder()
  readonly #idleLimit: number | undefined
  #term = ''
  #size: string | undefined
  /** Players know no way back. */
  #seconds = 0

  /** `idleLimit`: seconds; what a player makes of longer silences. */
  constructor(idleLimit?: number) {
    this.#idleLimit = idleLimit
  }

  event(event: RecordingEvent, header: RecordingHeader): string {
    if (header.kind !== 'ssh')
      throw usage('this is no recording of a terminal', 'tsh play --format=json shows it.')
    const seconds = Math.max(0, event.atMs - header.startedAtMs) / 1000
    this.#seconds = Math.max(this.#seconds, seconds)
    switch (event.kind) {
      case 'start': {
        const { term } = event.fields
        this.#term = typeof term === 'string' ? printable(term) : ''
        return ''
      }
      case 'print': {
        const text = this.#decoder.decode(this.#filter.push(event.bytes), { stream: true })
        return this.#head(header) + this.#line('o', text)
      }
      case 'resize':
        return this.#resize(event.columns, event.rows, header)
      case 'gap':
        return this.#head(header) + this.#line('m', lostText(event.lost))
      case 'statement':
        return ''
      case 'end':
        return this.#head(header) + this.#line('o', this.#decoder.decode())
    }
  }

  /** The size a terminal begins with is that of its first resize. */
  #head({ startedAtMs }: RecordingHeader, columns = COLUMNS, rows = ROWS): string {
    if (this.#size !== undefined) return ''
    this.#size = `${columns}x${rows}`
    return `${JSON.stringify({
      version: 2,
      width: columns,
      height: rows,
      timestamp: Math.floor(startedAtMs / 1000),
      ...(this.#idleLimit === undefined ? {} : { idle_time_limit: this.#idleLimit }),
      ...(this.#term === '' ? {} : { env: { TERM: this.#term } }),
    })}\n`
  }

  #resize(columns: number, rows: number, header: RecordingHeader): string {
    // Terminals without a size, and sizes no player can make.
    if ([columns, rows].some((each) => each < 1 || each > SIZE_MAX)) return ''
    const head = this.#head(header, columns, rows)
    const size = `${columns}x${rows}`
    if (size === this.#size) return head
    this.#size = size
    return head + this.#line('r', size)
  }

  #line(code: 'o' | 'r' | 'm', data: string): string {
    return data === '' ? '' : `${JSON.stringify([this.#seconds, code, data])}\n`
  }
}

function lostText(lost: number): string {
  return `${lost} events were lost here: the recorder could not keep them`
}

function statementText(event: Statement): string {
  const { atMs, statement, parameters, rows, durationUs, error } = event
  const facts = [
    ...(rows === undefined ? [] : [rows === 1 ? '1 row' : `${rows} rows`]),
    ...(durationUs === undefined ? [] : [`${(durationUs / 1000).toFixed(1)} ms`]),
  ]
  const result = facts.length === 0 ? '' : `  (${facts.join(', ')})`
  const lines = [
    `${clockText(atMs)}  ${oneLine(statement)}${result}`,
    ...parameters.map((value, at) => `${INDENT}$${at + 1} = ${oneLine(value)}`),
    ...(error === undefined ? [] : [`${INDENT}ERROR: ${oneLine(error)}`]),
  ]
  return `${lines.join('\n')}\n`
}

/** `12:00:01.250`: the day stands where the session begins. */
function clockText(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23)
}

const INDENT = ' '.repeat(14)

function oneLine(text: string): string {
  return printable(text.replaceAll(/\s+/g, ' ').trim())
}

function plain(event: RecordingEvent): Readonly<Record<string, unknown>> {
  const { kind, atMs, ...rest } = event
  const time = new Date(atMs).toISOString()
  if (event.kind === 'print')
    return { time, event: kind, data: Buffer.from(event.bytes).toString('base64') }
  return { time, event: kind, ...rest }
}
