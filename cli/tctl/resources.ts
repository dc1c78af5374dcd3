// `tctl get`, `create` and `rm`: resources as YAML, as the reference product writes them. Files are checked here first, so that a
// mistake is shown with its line; control checks again.

import { readFileSync } from 'node:fs'
import { text as readAll } from 'node:stream/consumers'

import type { ControlClient } from '../../control/api/client.ts'
import type { JsonObject } from '../../control/api/messages.ts'
import {
  parseDocuments,
  type Resource,
  RESOURCE_KINDS,
  type ResourceKind,
  resourceKind,
  singletonOf,
} from '../../control/resources/resource.ts'
import { type CommandSpec, formatOption, usage } from '../command.ts'
import { CommandError } from '../exit.ts'
import { colour, FORMATS } from '../render.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'
import { documentsText, itemsOf } from './listing.ts'

export const get: CommandSpec = {
  takes: '<what>',
  options: [formatOption(['yaml', 'json', 'text'])],
  about: `What: a kind, kind/name, several with commas, or all. Kinds: ${RESOURCE_KINDS.join(', ')}.`,
  examples: [
    'tctl get roles',
    'tctl get role/access',
    'tctl get users,roles --format=text',
    'tctl get all',
  ],
  async run(input, tools) {
    const wanted = readReferences(input.arg(0))
    const items = await withAdministrator(tools, input, async (client) => {
      const found: JsonObject[] = []
      for (const { kind, name } of wanted)
        if (name === undefined) found.push(...(await itemsOf(client, kind)))
        else found.push((await client.call('resource-get', { kind, name })).document)
      return found
    })
    tools.out(await documentsText(input.choice('format', FORMATS, 'yaml'), items))
  },
}

export const create: CommandSpec = {
  takes: '[file]',
  options: [{ flags: '-f, --force', about: 'overwrite what is there' }],
  about: 'Reads standard input without a file, or with `-`. A file may hold several documents.',
  examples: [
    'tctl create role.yaml',
    'tctl create -f role.yaml',
    'tctl get role/access | tctl create -f',
  ],
  async run(input, tools) {
    const resources = parseDocuments(await readInput(input.args[0]))
    if (resources.length === 0) throw usage('the file holds no resource')
    await withAdministrator(tools, input, async (client) => {
      for (const resource of resources) await put(tools, client, resource, input.flag('force'))
    })
  },
}

export const rm: CommandSpec = {
  takes: '<kind/name>',
  examples: ['tctl rm role/dba', 'tctl rm locks/0f8fad5b-d9cb-469f-a165-70867728950e'],
  async run(input, tools) {
    const { kind, name } = readReference(input.arg(0))
    if (name === undefined) throw usage('which one?', `Write ${kind}/NAME.`)
    await withAdministrator(tools, input, (client) =>
      client.call('resource-delete', { kind, name }),
    )
    tools.out(`${kind} "${name}" is removed.\n`)
  },
}

/** Creates or, when forced, replaces; says what was done and what to know about it. */
async function put(
  tools: Tools,
  client: ControlClient,
  resource: Resource,
  force: boolean,
): Promise<void> {
  const { kind, metadata } = resource
  const document = asDocument(resource)
  const reply = force
    ? await client.call('resource-put', { kind, name: metadata.name, document, force })
    : await client.call('resource-create', { kind, document })
  tools.out(`${kind} "${metadata.name}" is ${force ? 'written' : 'created'}.\n`)
  showWarnings(tools, reply.warnings)
}

export function showWarnings(tools: Tools, warnings: readonly string[]): void {
  for (const warning of warnings)
    tools.note(`${colour('yellow', 'WARNING:', process.stderr)} ${warning}\n`)
}

/** A checked resource is plain JSON. */
export function asDocument(resource: Resource): JsonObject {
  return JSON.parse(JSON.stringify(resource)) as JsonObject
}

export interface Reference {
  readonly kind: ResourceKind
  readonly name: string | undefined
}

/** `role/access`, `roles`, `cap`. */
export function readReference(text: string): Reference {
  const slash = text.indexOf('/')
  const word = slash < 0 ? text : text.slice(0, slash)
  const kind = resourceKind(word)
  if (kind === undefined)
    throw usage(`"${word}" is no kind of resource`, `Kinds: ${RESOURCE_KINDS.join(', ')}.`)
  const name = slash < 0 ? singletonOf(kind) : text.slice(slash + 1)
  if (name === '') throw usage(`"${text}" names nothing behind the slash`)
  return { kind, name }
}

function readReferences(text: string): readonly Reference[] {
  if (text === 'all') return RESOURCE_KINDS.map((kind) => ({ kind, name: undefined }))
  return text.split(',').map((each) => readReference(each.trim()))
}

async function readInput(file: string | undefined): Promise<string> {
  if (file === undefined || file === '-') return await readAll(process.stdin)
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new CommandError(`cannot read ${file}: ${reason}`)
  }
}
