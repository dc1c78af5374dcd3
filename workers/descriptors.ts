// How many files and sockets this process may have open: the bound that strangers must never reach. Read once at start-up.

import { readFileSync } from 'node:fs'

// POSIX guarantees far less; every system we run on has at least this.
const FALLBACK = 1024

/** The soft limit, which Node has raised to the hard one by the time we run. */
export function descriptorLimit(): number {
  try {
    const line = /^Max open files\s+(\d+|unlimited)/m.exec(
      readFileSync('/proc/self/limits', 'utf8'),
    )
    return line?.[1] === 'unlimited' ? 2 ** 20 : Number(line?.[1] ?? FALLBACK)
  } catch {
    // No such file on other systems than Linux.
    return FALLBACK
  }
}
