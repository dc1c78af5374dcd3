// `tctl edit`: a resource in the person's editor. What was changed elsewhere meanwhile is not overwritten (the revision travels with
// the document), and a text that is refused is kept, so that no work is lost.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

import { parseDocuments, parseResource, renderDocument } from '../../control/resources/resource.ts'
import { type CommandSpec, usage } from '../command.ts'
import { CommandError, EXIT, ProgramEnded } from '../exit.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'
import { asDocument, readReference, showWarnings } from './resources.ts'

export const edit: CommandSpec = {
  takes: '<kind/name>',
  about: 'The editor is SLUICE_EDITOR, TELEPORT_EDITOR, VISUAL or EDITOR, else vi.',
  examples: ['tctl edit role/access', 'EDITOR=nano tctl edit cap'],
  async run(input, tools) {
    const { kind, name } = readReference(input.arg(0))
    if (name === undefined) throw usage('which one?', `Write ${kind}/NAME.`)
    await withAdministrator(tools, input, async (client) => {
      const before = await client.call('resource-get', { kind, name })
      const shown = renderDocument(parseResource(before.document))
      const file = path.join(mkdtempSync(path.join(os.tmpdir(), 'tctl-')), `${kind}.yaml`)
      writeFileSync(file, shown, { mode: 0o600 })
      await runEditor(tools, file)
      const text = readFileSync(file, 'utf8')
      if (text === shown) {
        discard(file)
        tools.out('Nothing was changed.\n')
        return
      }
      const reply = await kept(file, async () => {
        const [resource, ...more] = parseDocuments(text)
        if (resource === undefined || more.length > 0) throw usage('edit one document')
        if (resource.kind !== kind) throw usage(`the document is a ${resource.kind}, not a ${kind}`)
        return await client.call('resource-put', { kind, name, document: asDocument(resource) })
      })
      discard(file)
      tools.out(`${kind} "${name}" is written.\n`)
      showWarnings(tools, reply.warnings)
    })
  },
}

async function runEditor(tools: Tools, file: string): Promise<void> {
  const { env } = tools
  const named = ['SLUICE_EDITOR', 'TELEPORT_EDITOR', 'VISUAL', 'EDITOR'].map((name) => env[name])
  const command = named.find((each) => each !== undefined && each !== '') ?? 'vi'
  const [program = 'vi', ...args] = command.split(/\s+/)
  const code = await tools.run(program, [...args, file], env)
  if (code === 0) return
  discard(file)
  tools.note(`The editor ended with status ${code}; nothing was changed.\n`)
  throw new ProgramEnded(EXIT.failure)
}

/** On failure the text stays where the person can find it. */
async function kept<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const next = 'next' in error && typeof error.next === 'string' ? `${error.next}\n` : ''
    const status = error instanceof CommandError ? error.status : EXIT.failure
    throw new CommandError(error.message, status, `${next}Your text is in ${file}`)
  }
}

function discard(file: string): void {
  rmSync(path.dirname(file), { recursive: true, force: true })
}
