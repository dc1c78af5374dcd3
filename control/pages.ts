// One page of a list of targets, as people ask for it: words that must occur, labels that must be equal, from where the last page
// ended.

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { DatabasesRequest } from './api/messages.ts'

export interface Listed {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}

/** `rows` are in the order of their names. `textOf`: what else words are looked for in. */
export function pageOf<T extends Listed>(
  rows: readonly T[],
  request: DatabasesRequest,
  textOf: (row: T) => string,
): { readonly items: readonly T[]; readonly next?: string } {
  const words = (request.search ?? '')
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((word) => word !== '')
  const pairs = (request.labels ?? '')
    .split(',')
    .filter((pair) => pair !== '')
    .map(readPair)
  const found = rows.filter((row) => {
    const text = [row.name, textOf(row), ...Object.entries(row.labels).flat()]
      .join(' ')
      .toLowerCase()
    return (
      (request.cursor === undefined || row.name > request.cursor) &&
      words.every((word) => text.includes(word)) &&
      pairs.every(([key, value]) => row.labels[key] === value)
    )
  })
  const items = found.slice(0, request.limit ?? max('apiPageMax'))
  const last = items.at(-1)
  return items.length < found.length && last !== undefined ? { items, next: last.name } : { items }
}

function readPair(pair: string): readonly [string, string] {
  const at = pair.indexOf('=')
  if (at > 0) return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
  throw new ProxyError('resource.invalid', `"${pair}" is no label of the form key=value.`, {
    side: 'client',
  })
}
