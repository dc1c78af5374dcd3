// Names of people and targets: which are allowed, which are the same, and how a target is called inside a server name.
// Names land in subjects, principals, server names and logs, so the alphabet is narrow and look-alikes cannot exist.

import { createHash } from 'node:crypto'

import { max } from '../limits.ts'

const PERSON = /^[A-Za-z0-9_@+][A-Za-z0-9._@+-]*$/
const TARGET = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/
const LDH_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
/** A target may not be called like the hash of another. */
const HASHED_LABEL = /^x-[a-z2-7]{26}$/
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

/** What two spellings of one name have in common; the key under which a name is unique. */
export function foldName(name: string): string {
  return name.normalize('NFKC').toLowerCase()
}

/** Why a person may not be called so, as a sentence; undefined when the name is good. */
export function userNameProblem(name: string): string | undefined {
  const general = lengthProblem('A user name', name)
  if (general !== undefined) return general
  if (!PERSON.test(name))
    return 'A user name has ASCII letters, digits and . _ @ + - only, and begins with neither . nor -.'
  if (name.startsWith('@')) return 'User names that begin with "@" belong to the system.'
  if (foldName(name).startsWith('bot-')) return 'User names that begin with "bot-" belong to bots.'
  return undefined
}

/** Why a role may not be called so. Roles of the system begin with "@" and are not made by people. */
export function roleNameProblem(name: string): string | undefined {
  const general = lengthProblem('A role name', name)
  if (general !== undefined) return general
  if (!PERSON.test(name))
    return 'A role name has ASCII letters, digits and . _ @ + - only, and begins with neither . nor -.'
  return name.startsWith('@') ? 'Role names that begin with "@" belong to the system.' : undefined
}

/** Why a database (or app, cluster, desktop) may not be called so. */
export function targetNameProblem(name: string): string | undefined {
  const general = lengthProblem('A target name', name)
  if (general !== undefined) return general
  return TARGET.test(name)
    ? undefined
    : 'A target name has letters, digits and . _ - only, and begins and ends with a letter or digit.'
}

/** Why a node may not be called so: its name is one label, so that it cannot pass for a name below a target's. */
export function nodeNameProblem(name: string): string | undefined {
  return LDH_LABEL.test(name)
    ? undefined
    : 'A node name is one DNS label: at most 63 of a-z, 0-9 and "-", not at its ends.'
}

/**
 * The label that stands for a target in `<ticket>.<label>.<kind>.<cluster>`: the name itself when it is a lower-case LDH label,
 * else `x-` and 26 characters of its SHA-256. Server names ignore case, so a name with capitals is hashed too.
 */
export function targetLabel(name: string): string {
  if (LDH_LABEL.test(name) && !HASHED_LABEL.test(name)) return name
  return `x-${base32(createHash('sha256').update(name, 'utf8').digest()).slice(0, 26)}`
}

function lengthProblem(what: string, name: string): string | undefined {
  if (name === '') return `${what} is not empty.`
  return name.length > max('nameLengthMax')
    ? `${what} has at most ${String(max('nameLengthMax'))} characters.`
    : undefined
}

/** RFC 4648 section 6, lower case, without padding; a last group of fewer than five bits is left out. */
function base32(bytes: Uint8Array): string {
  let out = ''
  let bits = 0
  let held = 0
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      out += BASE32[(held >> bits) & 31] ?? ''
      held &= (1 << bits) - 1
    }
  }
  return out
}
