// One text for one value: JSON with sorted keys, no white space, nothing that a reader could drop in silence. Identities
// and signed checkpoints are compared as these bytes. It never writes what JSON.parse would not give back equal.

/** Values that have a canonical form. Numbers are safe integers: fractions have no single short form everywhere. */
export type Canonical =
  | string
  | number
  | boolean
  | readonly Canonical[]
  | { readonly [key: string]: Canonical | undefined }

/** Keys whose value is undefined are left out. Throws a TypeError for a value that has no canonical form. */
export function canonicalJson(value: Canonical): string {
  if (typeof value === 'string') return canonicalString(value)
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number') return canonicalNumber(value)
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`
  const members: string[] = []
  for (const key of Object.keys(value).sort()) {
    const member = value[key]
    if (member !== undefined) members.push(`${canonicalString(key)}:${canonicalJson(member)}`)
  }
  return `{${members.join(',')}}`
}

/**
 * True when `text` is the canonical form of `value`, which was parsed from it. In most cases without writing it again key by key.
 */
export function isCanonicalJson(value: Canonical, text: string): boolean {
  // What JSON.stringify writes is canonical when keys are in order and nothing lacks a form; an escaped surrogate may stand alone.
  const plain = !text.includes('\\ud') && isOrdered(value) && JSON.stringify(value) === text
  return plain || canonicalJson(value) === text
}

function isOrdered(value: Canonical | null | undefined): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value)
  if (typeof value !== 'object') return value !== undefined
  if (value === null) return false
  if (isList(value)) return value.every(isOrdered)
  let before = ''
  for (const key of Object.keys(value)) {
    if (key < before || !isOrdered(value[key])) return false
    before = key
  }
  return true
}

function isList(value: Canonical): value is readonly Canonical[] {
  return Array.isArray(value)
}

function canonicalString(value: string): string {
  if (!value.isWellFormed()) throw new TypeError('a lone surrogate has no canonical form')
  return JSON.stringify(value)
}

function canonicalNumber(value: number): string {
  if (!Number.isSafeInteger(value) || Object.is(value, -0))
    throw new TypeError('only safe integers have a canonical form')
  return String(value)
}
