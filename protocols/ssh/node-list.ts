// What somebody sees who came to a proxy with plain `ssh` and named no node: the nodes they may reach, as `tsh ls` lists them, and how to
// go on. The commands that are understood here are two spellings of that list; there is no shell.

import type { ListedNode, NodeList } from '../../core/ssh/services.ts'
import { labelsText, printable, table } from '../../core/table.ts'

const FORMATS = ['text', 'json', 'names'] as const
export type ListFormat = (typeof FORMATS)[number]

/** As in `tsh ls`. */
const LABELS_WIDTH = 60

/** The list that a command asks for; without a command, the one for people. Undefined: it asks for something else. */
export function readListCommand(command: string | undefined): ListFormat | undefined {
  const [program, option, ...more] = command?.trim().split(/\s+/) ?? ['ls']
  if (program !== 'ls' || more.length > 0) return undefined
  if (option === undefined) return 'text'
  return FORMATS.find((format) => option === `--format=${format}`)
}

export function listText(list: NodeList, format: ListFormat): string {
  switch (format) {
    case 'text':
      return list.nodes.length === 0 ? NOTHING : `${nodesTable(list)}\n${next(list)}`
    case 'names':
      return list.nodes.map(({ name }) => `${printable(name)}\n`).join('')
    case 'json':
      return `${escaped(JSON.stringify(list.nodes, undefined, 2))}\n`
  }
}

const NOTHING =
  'No nodes that your roles let you see.\n\nA node appears here when a role of yours grants it: ask an administrator.\n'

function nodesTable({ nodes }: NodeList): string {
  const rows = nodes.map((node) => [
    node.name,
    addressOf(node),
    node.host,
    labelsText(node.labels, LABELS_WIDTH),
  ])
  return table(['Node Name', 'Address', 'Host', 'Labels'], rows)
}

/** How a node is reached; an arrow stands for its agent, which dials out. */
function addressOf({ address, online }: ListedNode): string {
  if (address !== '') return address
  return online ? '⟵ Agent' : 'offline'
}

function next({ cut, via }: NodeList): string {
  const rest = cut ? 'There are more: tsh ls --search=WORDS\n' : ''
  return `${rest}Go on with: ssh -J ${printable(via)} LOGIN@HOST, or tsh ssh LOGIN@NODE\n`
}

/** JSON may hold what terminals obey beyond what its writer escapes. */
function escaped(json: string): string {
  return json.replaceAll(/[\u007f-\u009f]|\p{Cf}/gu, (character) =>
    character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}
