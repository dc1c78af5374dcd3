// The one door to the native part of @lydell/node-pty: a pseudo terminal's two descriptors, and its size. Neither descriptor is
// closed on exec: the process that loads this must start no program of a login, or that would get the terminals of the others.
// Of the package only the platform's binary is used: its own way of starting programs keeps root's groups.

import { createRequire } from 'node:module'

import { ProxyError } from '../../core/errors.ts'

export interface OpenPty {
  readonly master: number
  readonly slave: number
  /** Path of the slave: `/dev/pts/7`. */
  readonly pty: string
}

export interface PtyAddon {
  open(columns: number, rows: number): OpenPty
  resize(master: number, columns: number, rows: number): void
}

export function loadPtyAddon(): PtyAddon {
  const name = `@lydell/node-pty-${process.platform}-${process.arch}/pty.node`
  try {
    const loaded: unknown = createRequire(import.meta.url)(name)
    if (isAddon(loaded)) return loaded
  } catch (cause) {
    throw unfit(cause)
  }
  throw unfit(undefined)
}

function isAddon(value: unknown): value is PtyAddon {
  if (typeof value !== 'object' || value === null || !('open' in value) || !('resize' in value))
    return false
  return typeof value.open === 'function' && typeof value.resize === 'function'
}

function unfit(cause: unknown): ProxyError {
  return new ProxyError('runtime.unfit', 'This machine has no build of the terminal addon.', {
    cause,
    next: 'Terminals need Linux on x64 or arm64 with glibc 2.28 or newer.',
  })
}
