// docs/audit-events.md equals the catalogue, and the catalogue keeps its own rules.

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type AuditRow, AUDIT_EVENTS, auditRow } from './catalogue.ts'

const DOCS = new URL('../../docs/audit-events.md', import.meta.url)

const HEAD = `# Audit events

One event is one JSON line of the audit log (its chain is described in \`core/audit/chain.ts\`). Every event has \`event\`, \`code\`,
\`uid\`, \`time\` (RFC 3339, UTC, milliseconds), \`ei\` and \`cluster_name\`. Names and codes are those of the reference product; codes
that begin with \`SL\` are Sluice's own. The last letter of a code is I (information), W (warning), E (error) or S (stop). Fields listed are
those an event may carry beside the common ones; \`trimmed\` names fields that were cut to the bound, \`dropped_fields\` counts
those left out. An event that came from an agent or proxy also has \`emitter\`: its id, role, and the place of the event in its own
chain.

This page equals \`core/audit/catalogue.ts\`; a test keeps it so. \`SLUICE_WRITE_DOCS=1\` makes that test write it.

| code | event | emitted by | meaning | fields |
| --- | --- | --- | --- | --- |
`

describe('the catalogue of audit events', () => {
  it('is what docs/audit-events.md says', async () => {
    const rows = Object.entries(AUDIT_EVENTS).map(([code, row]) => line(code, row))
    const expected = `${HEAD}${rows.join('\n')}\n`
    if (process.env['SLUICE_WRITE_DOCS'] === '1') await writeFile(DOCS, expected)
    assert.equal(await readFile(DOCS, 'utf8'), expected)
  })

  it('has one form of code, severities that exist, and an emitter for each event', () => {
    for (const [code, row] of Object.entries(AUDIT_EVENTS)) {
      assert.match(code, /^(T|SL)[A-Z]*\d{2,4}[IWES]$/)
      assert.match(row.name, /^[a-z][a-z0-9_]*([.-][a-z_]+)*$/)
      assert.ok(row.by.length > 0)
      assert.equal(new Set(row.fields).size, row.fields.length, code)
    }
    assert.equal(auditRow('constructor'), undefined)
  })

  it('gives each code once, whichever of its files has the row', () => {
    const files = globSync(['catalogue.ts', '*-rows.ts'], { cwd: import.meta.dirname })
    const codes = files.flatMap((file) => {
      const text = readFileSync(join(import.meta.dirname, file), 'utf8')
      return [...text.matchAll(/^ {2,4}([A-Z]{1,6}\d{2,4}[IWES]): /gm)].map(([, code]) => code)
    })
    assert.ok(files.length >= 4)
    assert.equal(new Set(codes).size, codes.length)
    assert.equal(codes.length, Object.keys(AUDIT_EVENTS).length)
  })

  it('lets agents and proxies say nothing of people, configuration and certificates', () => {
    const shielded =
      /^(user|role|lock|cert|instance|join_token|mfa|db\.(create|update|delete)|.*_config)/
    for (const row of Object.values(AUDIT_EVENTS)) {
      if (shielded.test(row.name)) assert.deepEqual(row.by, ['control'], row.name)
    }
  })
})

function line(code: string, row: AuditRow): string {
  const fields = row.fields.map((field) => `\`${field}\``).join(', ')
  return `| ${code} | \`${row.name}\` | ${row.by.join(', ')} | ${row.meaning} | ${fields} |`
}
