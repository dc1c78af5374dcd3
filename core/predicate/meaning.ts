// What a part of an expression comes to: a text, a list of texts or a truth. Types are settled when the expression is read, so that
// evaluation asks for none.

import type { Scope } from './scope.ts'

export type Read<T> = (scope: Scope) => T

export type Meaning =
  | {
      readonly type: 'text'
      readonly read: Read<string>
      /** Written in quotes: known before anything is judged. */
      readonly constant?: string
      /** Of labels: whether the key is there, whatever its value. */
      readonly present?: Read<boolean>
    }
  | { readonly type: 'list'; readonly read: Read<readonly string[]> }
  | { readonly type: 'truth'; readonly read: Read<boolean> }

export const TYPE_WORDS: Readonly<Record<Meaning['type'], string>> = {
  text: 'a text',
  list: 'a list',
  truth: 'true or false',
}

export function text(read: Read<string>): Meaning {
  return { type: 'text', read }
}

export function constant(value: string): Meaning {
  return { type: 'text', read: () => value, constant: value }
}

export function list(read: Read<readonly string[]>): Meaning {
  return { type: 'list', read }
}

export function truth(read: Read<boolean>): Meaning {
  return { type: 'truth', read }
}
