// Commands that copy files: `scp -t` and `scp -f`, which OpenSSH's scp runs at the other end (`scp -O`), and `sftp-server` run by hand. They
// are known by their words. What else copies (rsync, cat, a script) is a command like any other: whoever may run those needs no scp,
// and `ssh_file_copy` says so of these alone.

export interface CopyCommand {
  readonly tool: 'scp' | 'sftp'
  /** As the client sees it. */
  readonly action: 'download' | 'upload'
  /** As it stands in the command. */
  readonly path: string
}

/** Undefined: no command of these. The command is bytes; one that is not UTF-8 is read with replacements, for its words alone. */
export function copyCommandOf(command: Uint8Array): CopyCommand | undefined {
  const words = Buffer.from(command).toString('utf8').trim().split(/\s+/)
  const [program = ''] = words
  const name = program
    .replaceAll(/["'\\]/g, '')
    .split('/')
    .at(-1)
  if (name === 'sftp-server' || name === 'internal-sftp')
    return { tool: 'sftp', action: 'download', path: '' }
  if (name !== 'scp') return undefined
  const options = words.slice(1).filter((word) => /^-[A-Za-z]+$/.test(word))
  const letters = options.join('')
  if (!/[tf]/.test(letters)) return undefined
  const path = words.slice(1).find((word) => !word.startsWith('-')) ?? ''
  return { tool: 'scp', action: letters.includes('t') ? 'upload' : 'download', path }
}
