// The child's end of the pipe that ties a process to the launcher: one byte says that it listens, and the end of its input, which
// also a launcher that was killed brings about, ends it at once.

import process from 'node:process'

export function endWithParent(): void {
  process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0))
  process.stdin.resume()
  process.stdout.on('error', () => process.exit(0))
  process.stdout.write('\n')
}
