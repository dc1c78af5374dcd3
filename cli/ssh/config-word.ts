// Words of ssh_config(5): what it would read otherwise is quoted, and `%` doubled where tokens are expanded.

export function configWord(text: string): string {
  const plain = text.replaceAll('%', '%%')
  return /[\s"\\#]/.test(plain) ? `"${plain.replaceAll(/["\\]/g, '\\$&')}"` : plain
}

/** For the shell that OpenSSH gives a command to, behind its own tokens. */
export function shellWord(text: string): string {
  const plain = text.replaceAll('%', '%%')
  return /^[\w@%+=:,./-]+$/.test(plain) ? plain : `'${plain.replaceAll("'", "'\\''")}'`
}
