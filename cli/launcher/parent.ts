// The child's end of the pipe that ties a process to the launcher: one byte says that it listens, and the end of its input, which
// also a launcher that was killed brings about, ends it. `finish` takes away what would stay; it has as long as the launcher waits.

import process from 'node:process'

import { max } from '../../core/limits.ts'

export function endWithParent(finish: () => Promise<void> = async () => {}): void {
  const end = (): void => {
    setTimeout(() => process.exit(1), max('helperStopMs')).unref()
    finish().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.stdin.once('end', end).on('error', () => process.exit(1))
  process.stdin.resume()
  process.stdout.on('error', () => {})
  process.stdout.write('\n')
}
