// Keys as they are pressed, from a terminal in raw mode: no line editing, no echo, Ctrl-C a key like any other. Whoever opens them closes
// them, or the person's shell stays deaf.

/** A terminal's input: `process.stdin`, or a test's. */
export interface KeyInput {
  readonly isTTY?: boolean
  setRawMode(on: boolean): unknown
  on(event: 'data' | 'end', listener: (bytes: Uint8Array) => void): unknown
  off(event: 'data' | 'end', listener: (bytes: Uint8Array) => void): unknown
  resume(): unknown
  pause(): unknown
}

export interface Keys {
  close(): void
}

/** What a person pressed. `end`: nobody is there any more. */
export type Key = 'space' | 'left' | 'right' | 'plus' | 'minus' | 'quit' | 'end'

/** Undefined where there is no terminal. `raw` makes it raw and gives what undoes that: of a person's terminal more than its input. */
export function openKeys(
  input: KeyInput,
  pressed: (key: Key) => void,
  raw: () => () => void = () => rawInput(input),
): Keys | undefined {
  if (input.isTTY !== true) return undefined
  const parser = new KeyParser()
  const data = (bytes: Uint8Array): void => {
    for (const key of parser.push(bytes)) pressed(key)
  }
  const end = (): void => pressed('end')
  const undo = raw()
  input.on('data', data)
  input.on('end', end)
  input.resume()
  return {
    close() {
      input.off('data', data)
      input.off('end', end)
      undo()
      input.pause()
    },
  }
}

function rawInput(input: KeyInput): () => void {
  input.setRawMode(true)
  return () => void input.setRawMode(false)
}

const ESC = '\u{1b}'
const SINGLE: Readonly<Record<string, Key>> = {
  ' ': 'space',
  '+': 'plus',
  // The same key without shift.
  '=': 'plus',
  '-': 'minus',
  q: 'quit',
  '\u{3}': 'quit',
}
const ARROWS: Readonly<Record<string, Key>> = { C: 'right', D: 'left' }
const SEQUENCE_MAX = 16

/** Sequences of cursor keys may come in pieces. What is no key of ours is nothing. */
export class KeyParser {
  /** A sequence so far; empty outside of one. */
  #held = ''

  push(bytes: Uint8Array): readonly Key[] {
    const keys: Key[] = []
    for (const character of Buffer.from(bytes).toString('latin1')) {
      const key = this.#take(character)
      if (key !== undefined) keys.push(key)
    }
    return keys
  }

  #take(character: string): Key | undefined {
    if (character === ESC) {
      this.#held = ESC
      return undefined
    }
    if (this.#held === '') return SINGLE[character]
    const begun = this.#held.length > 1
    // ESC [ … final, or ESC O final: whether the terminal is in application mode is not ours to know.
    if (begun ? /[0-9;]/.test(character) : /[[O]/.test(character)) {
      this.#held = this.#held.length < SEQUENCE_MAX ? this.#held + character : ''
      return undefined
    }
    this.#held = ''
    return begun ? ARROWS[character] : SINGLE[character]
  }
}
