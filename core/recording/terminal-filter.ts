// What of a recorded terminal may reach a terminal again. Text, colours and movements pass; what makes a terminal answer, print, rename
// its window, take over the clipboard or send mouse reports does not: OSC, DCS and the other strings, device queries, unknown sequences.
// A list of what passes, not of what does not. Bytes in, bytes out, state between them; bounded whatever comes in.

const ESC = 0x1b
const BEL = 0x07
const SEQUENCE_BYTES_MAX = 64

// BEL, backspace, tab, line feed, vertical tab, form feed, carriage return, shift out, shift in.
const CONTROLS = new Set([0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f])
/** Final bytes of control sequences: cursor, erase, insert, delete, scroll, tabs, margins, colours. */
const FINALS = new Set(Buffer.from('@ABCDEFGHIJKLMPSTXZ`abdefgmrsu'))
/** The same with a `?` before the parameters: selective erase. */
const PRIVATE_FINALS = new Set(Buffer.from('JK'))
const SET = 0x68
const RESET = 0x6c
/** Private modes that only change what is shown. Mouse reports, focus reports and bracketed paste are none of them. */
const MODES: ReadonlySet<string> = new Set(
  '1 3 5 6 7 8 12 25 40 45 47 1047 1048 1049 2026'.split(' '),
)
/** Behind ESC: save, restore, index, next line, tab stop, reverse index, keypad, reset. */
const ESCAPES = new Set(Buffer.from('78DEHM=>c'))
/** Begin a character set, or the alignment test. */
const INTERMEDIATES = new Set(Buffer.from('()*+#'))
/** Begin a string that ends with ST: DCS, SOS, OSC, PM, APC. */
const STRINGS = new Set(Buffer.from('PX]^_'))

/** What passed: never more than came in now, and was held before. */
class Output {
  #bytes: Buffer
  #length = 0

  constructor(room: number) {
    this.#bytes = Buffer.allocUnsafe(room + 2 * SEQUENCE_BYTES_MAX)
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  push(...bytes: readonly number[]): void {
    for (const byte of bytes) this.#bytes[this.#length++] = byte
  }

  copy(bytes: Uint8Array, from: number, to: number): void {
    this.#bytes.set(bytes.subarray(from, to), this.#length)
    this.#length += to - from
  }
}

/** Where text that passes whatever came before it ends: most of what a terminal shows, and not to be looked at byte by byte. */
function plainEnd(bytes: Uint8Array, from: number): number {
  for (let at = from; at < bytes.length; ) {
    const byte = bytes[at] ?? 0
    if (byte < 0x7f) {
      if (byte < 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at
      at++
    } else {
      const length = characterBytes(bytes, at)
      if (length === 0) return at
      at += length
    }
  }
  return bytes.length
}

/** Of the whole character of several bytes that is here and is no control; 0: there is none. */
function characterBytes(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0
  if (lead < 0xc3 || lead > 0xf4) return 0
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  for (let next = at + 1; next < at + length; next++)
    if (((bytes[next] ?? 0) & 0xc0) !== 0x80) return 0
  return length
}

/** Behind bytes that terminals pass over: padding, which some programs send much of. */
function paddingEnd(bytes: Uint8Array, from: number): number {
  let at = from
  while (at < bytes.length && bytes[at] === 0) at++
  return at
}

type State = 'text' | 'escape' | 'csi' | 'string' | 'string-escape' | 'intermediate'

export class TerminalFilter {
  #state: State = 'text'
  #sequence: number[] = []
  /** Continuation bytes that the last character still takes. */
  #continues = 0
  /** The lead byte of a two-byte character that may be a control. */
  #lead = 0

  push(bytes: Uint8Array): Uint8Array {
    const out = new Output(bytes.length)
    for (let at = 0; at < bytes.length; at++) {
      if (this.#state === 'text' && this.#continues === 0) {
        const end = plainEnd(bytes, at)
        if (end > at) out.copy(bytes, at, end)
        at = paddingEnd(bytes, end)
      }
      const byte = bytes[at]
      if (byte !== undefined) this.#take(byte, out)
    }
    return out.bytes
  }

  #take(byte: number, out: Output): void {
    switch (this.#state) {
      case 'text':
        return this.#text(byte, out)
      case 'escape':
        return this.#escape(byte, out)
      case 'csi':
        return this.#csi(byte, out)
      case 'intermediate':
        if (byte >= 0x30 && byte <= 0x7e) out.push(ESC, ...this.#sequence, byte)
        return this.#begin(byte === ESC ? 'escape' : 'text')
      case 'string':
        if (byte === ESC) this.#state = 'string-escape'
        else if (byte === BEL || byte === 0x18 || byte === 0x1a) this.#begin('text')
        return undefined
      case 'string-escape':
        // ESC \ ends it; another sequence ends it, too.
        if (byte === 0x5c) return this.#begin('text')
        this.#begin('escape')
        return this.#escape(byte, out)
    }
  }

  #text(byte: number, out: Output): void {
    if (this.#continues > 0 && byte >= 0x80 && byte <= 0xbf) {
      this.#continues--
      const lead = this.#lead
      this.#lead = 0
      // U+0080 to U+009F are controls with eight bits: a DCS among them.
      if (lead === 0xc2 && byte <= 0x9f) return this.#eightBit(byte)
      if (lead !== 0) out.push(lead)
      out.push(byte)
      return undefined
    }
    this.#continues = 0
    this.#lead = 0
    if (byte === ESC) return this.#begin('escape')
    if (byte >= 0x80) return this.#begins(byte, out)
    if ((byte >= 0x20 && byte !== 0x7f) || CONTROLS.has(byte)) out.push(byte)
    return undefined
  }

  /** The first byte of a character, or none. */
  #begins(byte: number, out: Output): void {
    if (byte === 0xc2) {
      this.#continues = 1
      this.#lead = byte
      return
    }
    this.#continues = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : byte >= 0xc3 ? 1 : 0
    if (this.#continues > 0 && byte <= 0xf4) out.push(byte)
    else if (byte <= 0x9f) this.#eightBit(byte)
    else this.#continues = 0
  }

  #eightBit(byte: number): void {
    if (byte === 0x9b) this.#begin('csi')
    else if (STRINGS.has(byte - 0x40)) this.#begin('string')
  }

  #escape(byte: number, out: Output): void {
    if (byte === ESC) return undefined
    if (byte === 0x5b) return this.#begin('csi')
    if (STRINGS.has(byte)) return this.#begin('string')
    if (INTERMEDIATES.has(byte)) {
      this.#begin('intermediate')
      this.#sequence.push(byte)
      return undefined
    }
    if (ESCAPES.has(byte)) out.push(ESC, byte)
    return this.#begin('text')
  }

  #csi(byte: number, out: Output): void {
    if (byte === ESC) return this.#begin('escape')
    if (byte === 0x18 || byte === 0x1a) return this.#begin('text')
    // Controls inside a sequence act at once.
    if (byte < 0x20) {
      if (CONTROLS.has(byte)) out.push(byte)
      return undefined
    }
    if (byte < 0x40) {
      // A longer one is none that passes; its end is waited for.
      if (this.#sequence.length <= SEQUENCE_BYTES_MAX) this.#sequence.push(byte)
      return undefined
    }
    if (byte <= 0x7e && passes(this.#sequence, byte)) out.push(ESC, 0x5b, ...this.#sequence, byte)
    return this.#begin('text')
  }

  #begin(state: State): void {
    this.#state = state
    this.#sequence = []
    this.#continues = 0
    this.#lead = 0
  }
}

function passes(sequence: readonly number[], final: number): boolean {
  if (sequence.length > SEQUENCE_BYTES_MAX) return false
  // Numbers alone: a private mark or an intermediate makes another sequence of it.
  if (sequence.every(isNumeric)) return FINALS.has(final)
  const text = Buffer.from(sequence).toString('latin1')
  // The cursor's shape.
  if (/^\d? $/.test(text)) return final === 0x71
  if (text === '!') return final === 0x70
  const modes = /^\?([0-9;]+)$/.exec(text)?.[1]
  if (final === SET || final === RESET)
    return modes !== undefined && modes.split(';').every((mode) => MODES.has(mode))
  return /^\?\d*$/.test(text) && PRIVATE_FINALS.has(final)
}

/** Digits, and what stands between numbers. */
function isNumeric(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x3b
}
