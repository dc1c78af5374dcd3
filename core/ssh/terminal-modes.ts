// Encoded terminal modes (RFC 4254 section 8, and IUTF8 of RFC 8160) as the settings of stty, and back: pairs of an opcode and a 32-bit
// number, ended by opcode 0. Opcodes from 160 on have no defined form: what follows the first of them is not read, as the standard says.
// Not applied: VDSUSP, VFLUSH, VSTATUS (Linux has no such characters), IUCLC and OLCUC (not POSIX), XCASE, PENDIN.

import { ProxyError } from '../errors.ts'
import { SshReader, u32 } from './bytes.ts'

/** Control characters: an opcode and stty's name. */
const CHARACTERS: ReadonlyMap<number, string> = new Map([
  [1, 'intr'],
  [2, 'quit'],
  [3, 'erase'],
  [4, 'kill'],
  [5, 'eof'],
  [6, 'eol'],
  [7, 'eol2'],
  [8, 'start'],
  [9, 'stop'],
  [10, 'susp'],
  [12, 'rprnt'],
  [13, 'werase'],
  [14, 'lnext'],
  [16, 'swtch'],
  [18, 'discard'],
])

/** Settings that are on or off. */
const FLAGS: ReadonlyMap<number, string> = new Map([
  [30, 'ignpar'],
  [31, 'parmrk'],
  [32, 'inpck'],
  [33, 'istrip'],
  [34, 'inlcr'],
  [35, 'igncr'],
  [36, 'icrnl'],
  [38, 'ixon'],
  [39, 'ixany'],
  [40, 'ixoff'],
  [41, 'imaxbel'],
  [42, 'iutf8'],
  [50, 'isig'],
  [51, 'icanon'],
  [53, 'echo'],
  [54, 'echoe'],
  [55, 'echok'],
  [56, 'echonl'],
  [57, 'noflsh'],
  [58, 'tostop'],
  [59, 'iexten'],
  [60, 'echoctl'],
  [61, 'echoke'],
  [70, 'opost'],
  [72, 'onlcr'],
  [73, 'ocrnl'],
  [74, 'onocr'],
  [75, 'onlret'],
  [92, 'parenb'],
  [93, 'parodd'],
])

const TTY_OP_END = 0
const UNDEFINED_FROM = 160
const CS7 = 90
const CS8 = 91
const ISPEED = 128
const OSPEED = 129
/** A character that is switched off. */
const NO_CHARACTER = 255
/** Rates that termios knows; others cannot be set, and nothing depends on the rate of a pseudo terminal. */
const RATES: ReadonlySet<number> = new Set([
  300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400,
])

/** Arguments for stty, in the order of the modes. Throws for a number that is cut off or no character. */
export function sttyArguments(modes: Uint8Array): readonly string[] {
  const reader = new SshReader(modes)
  const settings: string[] = []
  while (!reader.done) {
    const opcode = reader.u8()
    if (opcode === TTY_OP_END || opcode >= UNDEFINED_FROM) break
    settings.push(...setting(opcode, reader.u32()))
  }
  return settings
}

function setting(opcode: number, value: number): readonly string[] {
  const character = CHARACTERS.get(opcode)
  if (character !== undefined) return [character, characterText(value)]
  const flag = FLAGS.get(opcode)
  if (flag !== undefined) return [value === 0 ? `-${flag}` : flag]
  if (opcode === CS7 || opcode === CS8) return value === 0 ? [] : [opcode === CS7 ? 'cs7' : 'cs8']
  if (opcode === ISPEED || opcode === OSPEED)
    return RATES.has(value) ? [opcode === ISPEED ? 'ispeed' : 'ospeed', String(value)] : []
  return []
}

/** As a number in stty's eyes: a single digit would be the character of that digit. */
function characterText(value: number): string {
  if (value > NO_CHARACTER)
    throw new ProxyError('protocol.violation', 'A control character of a terminal has one byte.', {
      side: 'client',
    })
  return value === NO_CHARACTER ? 'undef' : `0x${value.toString(16)}`
}

/** What `stty -a` prints, of Linux or of a BSD, encoded. Names that are not known here are left out, as the standard lets both sides do. */
export function modesOf(printed: string): Uint8Array {
  const pairs: (readonly [number, number])[] = []
  const speed = /\bspeed (\d{1,9}) baud/.exec(printed)?.[1]
  if (speed !== undefined) pairs.push([ISPEED, Number(speed)], [OSPEED, Number(speed)])
  for (const [, name = '', text = ''] of printed.matchAll(/([a-z0-9]+) = ([^;\s]+);/g)) {
    const [opcode, value] = [opcodeOf(CHARACTERS, name), characterValue(text)]
    if (opcode !== undefined && value !== undefined) pairs.push([opcode, value])
  }
  const settings = printed.replaceAll(/[a-z0-9]+ = [^;]*;/g, ' ')
  for (const [, off = '', name = ''] of settings.matchAll(
    /(?<=[\s:]|^)(-?)([a-z0-9]+)(?=[\s;]|$)/g,
  )) {
    const opcode = opcodeOf(FLAGS, name)
    if (opcode !== undefined) pairs.push([opcode, off === '' ? 1 : 0])
    else if (off === '' && (name === 'cs7' || name === 'cs8'))
      pairs.push([name === 'cs7' ? CS7 : CS8, 1])
  }
  const encoded = pairs.flatMap(([opcode, value]) => [Uint8Array.of(opcode), u32(value)])
  return Buffer.concat([...encoded, Uint8Array.of(TTY_OP_END)])
}

function opcodeOf(names: ReadonlyMap<number, string>, wanted: string): number | undefined {
  // As the BSDs call it.
  const name = wanted === 'reprint' ? 'rprnt' : wanted
  return [...names].find(([, each]) => each === name)?.[0]
}

/** `^C`, `^?`, a character itself, `<undef>`; with `M-` in front, the same with its top bit. */
function characterValue(text: string): number | undefined {
  if (text === '<undef>') return NO_CHARACTER
  const [, meta = '', caret = '', letter = ''] = /^(M-)?(\^)?([!-~])$/.exec(text) ?? []
  if (letter === '') return undefined
  const code = letter.charCodeAt(0)
  const plain = caret === '' ? code : letter === '?' ? 0x7f : code & 0x1f
  return meta === '' ? plain : plain | 0x80
}
