// What `tsh scp` copies from and to, as scp writes it: a path here, or [login@]node:path there. A colon behind a slash is part of a
// name here: ./a:b.

import { usage } from '../command.ts'

export type Place =
  | { readonly kind: 'here'; readonly path: string }
  | {
      readonly kind: 'there'
      /** [login@]node */
      readonly node: string
      readonly path: string
    }

export function readPlace(text: string): Place {
  const colon = text.indexOf(':')
  const slash = text.indexOf('/')
  if (colon < 0 || (slash >= 0 && slash < colon)) {
    if (text === '') throw usage('a path is empty')
    return { kind: 'here', path: text }
  }
  const node = text.slice(0, colon)
  if (node === '' || node.endsWith('@') || node.startsWith('-'))
    throw usage(`"${text}" names no node`, 'Write [login@]node:path.')
  return { kind: 'there', node, path: fromHome(text.slice(colon + 1)) }
}

/** Relative paths begin at the login's home already; the shell's `~` is not known to SFTP. */
function fromHome(path: string): string {
  if (path === '' || path === '~' || path === '~/') return '.'
  if (path.startsWith('~/')) return path.slice(2)
  if (path.startsWith('~'))
    throw usage(`"${path}": the home of another login has no name in SFTP`, 'Write the whole path.')
  return path
}

/** Whether the last part of a path is a pattern, and which names it means. Undefined: it is none. */
export function patternOf(
  path: string,
): { readonly folder: string; readonly means: (name: string) => boolean } | undefined {
  const at = path.lastIndexOf('/')
  const last = path.slice(at + 1)
  if (!/[*?]/.test(last)) return undefined
  return { folder: at < 0 ? '.' : path.slice(0, at) || '/', means: (name) => means(last, name) }
}

/** `*` and `?`, without a regular expression: a pattern of many stars stays quick. Hidden names want a dot in the pattern. */
function means(pattern: string, name: string): boolean {
  if (name.startsWith('.') && !pattern.startsWith('.')) return false
  const [wanted, given] = [Array.from(pattern), Array.from(name)]
  let [p, n, star, mark] = [0, 0, -1, 0]
  while (n < given.length) {
    if (p < wanted.length && wanted[p] === '*') {
      star = p
      mark = n
      p += 1
    } else if (p < wanted.length && (wanted[p] === '?' || wanted[p] === given[n])) {
      p += 1
      n += 1
    } else if (star >= 0) {
      mark += 1
      p = star + 1
      n = mark
    } else return false
  }
  return wanted.slice(p).every((each) => each === '*')
}
