// Wall clocks of a test's role processes, one each, moved while they run. Production has no such door: a test's own program
// (clocked-sluice.ts) starts the supervisor and gives each role a preload (role-clock.ts), which no release contains.

import { copyFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { type Role, ROLES } from '../../cli/supervisor/messages.ts'

export class RoleClocks {
  readonly #folder: string

  /** `folder` must be readable to the roles' uids. */
  constructor(folder: string) {
    this.#folder = folder
    for (const role of ROLES) {
      this.jump(role, 0)
      copyFileSync(join(import.meta.dirname, 'role-clock.ts'), fileOf(folder, role))
    }
  }

  /** Sets the role's clock this far from the system's. Every thread of it follows within a few hundredths of a second. */
  jump(role: Role, offsetMs: number): void {
    const file = join(this.#folder, `clock-${role}.offset`)
    writeFileSync(`${file}.new`, String(offsetMs), { mode: 0o644 })
    renameSync(`${file}.new`, file)
  }

  reset(): void {
    for (const role of ROLES) this.jump(role, 0)
  }
}

/** The Node flags that give the role its clock. */
export function clockFlags(folder: string, role: Role): readonly string[] {
  return ['--import', pathToFileURL(fileOf(folder, role)).href]
}

function fileOf(folder: string, role: Role): string {
  return join(folder, `clock-${role}.ts`)
}
