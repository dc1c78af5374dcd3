// Waiting for other processes: they decide when a condition holds, so it is asked for again and again, within a deadline.

import assert from 'node:assert/strict'

const LOOK_MS = 25

/** Resolves when the condition holds; fails with the words when it does not in time. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  deadlineMs: number,
  what: string | (() => string),
): Promise<void> {
  const endMs = performance.now() + deadlineMs
  while (!(await condition())) {
    if (performance.now() >= endMs)
      assert.fail(`${deadlineMs} ms passed: ${typeof what === 'string' ? what : what()}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** The promise's value; fails when it does not come in time. Nothing may hang. */
export async function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(new assert.AssertionError({ message: `${deadlineMs} ms passed: ${what}` })),
    deadlineMs,
  )
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
