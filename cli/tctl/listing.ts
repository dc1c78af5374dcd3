// Resources of one kind as a table, YAML or JSON: what `tctl get` and the `ls` commands print.

import type { ControlClient } from '../../control/api/client.ts'
import type { JsonObject } from '../../control/api/messages.ts'
import {
  parseResource,
  renderDocument,
  type ResourceKind,
} from '../../control/resources/resource.ts'
import { columns, row } from '../../control/resources/table.ts'
import { formatOption, type Input, type Option } from '../command.ts'
import { FORMATS, type Format, printable, table } from '../render.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'

const CELL_CHARACTERS = 60

export const LIST_OPTIONS: readonly Option[] = [formatOption()]

/** Lists one kind, as text unless asked otherwise. */
export async function listKind(tools: Tools, input: Input, kind: ResourceKind): Promise<void> {
  const items = await withAdministrator(tools, input, async (client) => await itemsOf(client, kind))
  tools.out(await documentsText(input.choice('format', FORMATS, 'text'), items))
}

export async function itemsOf(
  client: ControlClient,
  kind: ResourceKind,
): Promise<readonly JsonObject[]> {
  return (await client.call('resource-list', { kind })).items
}

/** Documents of any kinds. As text one table per kind. */
export async function documentsText(
  format: Format,
  documents: readonly JsonObject[],
): Promise<string> {
  if (format === 'json') return `${JSON.stringify(documents, undefined, 2)}\n`
  if (format === 'yaml') return await yamlText(documents)
  if (documents.length === 0) return 'None.\n'
  const resources = documents.map(parseResource)
  const kinds = [...new Set(resources.map(({ kind }) => kind))]
  return kinds
    .map((kind) =>
      table(
        columns(kind),
        resources.filter((each) => each.kind === kind).map((each) => row(each).map(cell)),
      ),
    )
    .join('\n')
}

/** One line of bounded length: a role's rules would fill a screen; --format=yaml has them. */
function cell(text: string): string {
  const shown = printable(text)
  return shown.length > CELL_CHARACTERS ? `${shown.slice(0, CELL_CHARACTERS - 1)}…` : shown
}

/** A document of a newer control may have fields this version does not know; it is shown as it is. */
async function yamlText(documents: readonly JsonObject[]): Promise<string> {
  try {
    return renderDocument(...documents.map(parseResource))
  } catch {
    const { stringify } = await import('yaml')
    return documents.map((each) => stringify(each)).join('---\n')
  }
}
