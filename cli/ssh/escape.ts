// What a person types to tsh itself while a terminal elsewhere has the keyboard: `~` at the beginning of a line, then one character.
// As in OpenSSH: `~.` ends the session, `~?` lists these, `~~` sends one `~`; everything else goes through untouched.

export type Typed =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'help' | 'end' }

export const ESCAPE_HELP: string = [
  'Supported escape sequences:',
  '  ~.  end the session',
  '  ~?  this list',
  '  ~~  send ~',
  '(They are recognised right after Enter.)',
  '',
].join('\r\n')

const TILDE = 0x7e
const DOT = 0x2e
const QUESTION = 0x3f
const LINE_ENDS: readonly number[] = [0x0d, 0x0a]

export class Escapes {
  #state: 'line-start' | 'tilde' | 'line' = 'line-start'

  /** What the bytes come to, in order. Nothing follows an `end`. */
  take(bytes: Uint8Array): readonly Typed[] {
    const found: Typed[] = []
    let plain: number[] = []
    const flush = (): void => {
      if (plain.length > 0) found.push({ kind: 'bytes', bytes: Uint8Array.from(plain) })
      plain = []
    }
    for (const byte of bytes) {
      const held = this.#state === 'tilde'
      if (this.#state === 'line-start' && byte === TILDE) {
        this.#state = 'tilde'
        continue
      }
      this.#state = LINE_ENDS.includes(byte) ? 'line-start' : 'line'
      if (held && (byte === DOT || byte === QUESTION)) {
        flush()
        found.push({ kind: byte === DOT ? 'end' : 'help' })
        if (byte === DOT) return found
        this.#state = 'line-start'
        continue
      }
      if (held && byte !== TILDE) plain.push(TILDE)
      plain.push(byte)
    }
    flush()
    return found
  }
}
