import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { Node } from '../../control/api/messages.ts'
import { EXIT } from '../exit.ts'
import { FakeControl, type FakeTools, fakeTools, loggedIn, runCommand } from '../tools.fixture.ts'
import { TSH } from './table.ts'

const NODES: readonly Node[] = [
  {
    id: 'id-1',
    name: 'web-1',
    address: '',
    labels: { env: 'prod', team: 'shop' },
    logins: ['deploy', 'root'],
    online: true,
    subKind: '',
  },
  {
    id: 'id-2',
    name: 'old\u001b[2J',
    address: '192.0.2.9:22',
    labels: {},
    logins: [],
    online: false,
    subKind: 'openssh',
  },
]

async function setUp(t: TestContext): Promise<{ tools: FakeTools; control: FakeControl }> {
  const control = new FakeControl({
    nodes: ({ cursor }) =>
      cursor === undefined ? { items: NODES.slice(0, 1), next: 'more' } : { items: NODES.slice(1) },
  })
  const tools = await fakeTools(t, { control })
  await loggedIn(tools)
  return { tools, control }
}

test('nodes of all pages are a table; a terminal obeys none of their names', async (t) => {
  const { tools } = await setUp(t)
  await runCommand(TSH, tools, 'ls')
  match(
    tools.printed(),
    /^Node Name +Address +Labels\n-+ -+ -+\nweb-1 +⟵ Agent +env=prod,team=shop\n/,
  )
  match(tools.printed(), /\nold\ufffd\[2J +192\.0\.2\.9:22\n$/)
})

test('-v shows ids and logins', async (t) => {
  const { tools } = await setUp(t)
  await runCommand(TSH, tools, 'ls', [], { verbose: true })
  match(tools.printed(), /web-1 +id-1 +⟵ Agent +deploy, root +env=prod/)
  match(tools.printed(), /id-2 +192\.0\.2\.9:22 \(none\)/)
})

test('labels and words are control’s to find', async (t) => {
  const { tools, control } = await setUp(t)
  await runCommand(TSH, tools, 'ls', ['env=prod', 'team=shop'], { search: 'web' })
  deepEqual(control.request('nodes'), { search: 'web', labels: 'env=prod,team=shop' })
  await rejects(runCommand(TSH, tools, 'ls', ['prod']), /"prod" is no label/)
})

test('other formats are for programs', async (t) => {
  const { tools } = await setUp(t)
  await runCommand(TSH, tools, 'ls', [], { format: 'names' })
  equal(tools.printed(), 'web-1\nold\ufffd[2J\n')
  const json = await setUp(t)
  await runCommand(TSH, json.tools, 'ls', [], { format: 'json' })
  deepEqual(JSON.parse(json.tools.printed()), NODES)
})

test('a query is control’s to judge; one that is wrong is told before control is asked', async (t) => {
  const { tools, control } = await setUp(t)
  const query = 'labels["env"] == "prod"'
  await runCommand(TSH, tools, 'ls', [], { query })
  deepEqual(control.request('nodes'), { query })
  const wrong = await setUp(t)
  await rejects(runCommand(TSH, wrong.tools, 'ls', [], { query: 'labels.env = "x"' }), {
    status: EXIT.usage,
    message: '--query is wrong at column 12: write == to compare',
    next: /^An example: --query='/,
  })
  deepEqual(wrong.control.asked, [])
})

test('a query that finds nothing is no lack of nodes', async (t) => {
  const tools = await fakeTools(t, { control: new FakeControl({ nodes: () => ({ items: [] }) }) })
  await loggedIn(tools)
  await runCommand(TSH, tools, 'ls', [], { query: 'name == "x"' })
  equal(tools.printed(), 'No node that your roles let you see matches.\n')
})
