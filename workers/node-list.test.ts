// The list of nodes of somebody who came without naming one: what is in it, how it is asked for, where it ends.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../core/limits.ts'
import type { KnownNode, ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import type { NodeList } from '../core/ssh/services.ts'
import { CLUSTER } from '../test/fixtures/certificates.ts'
import { ALICE_LOGIN, alicePeer, testSnapshot, WEB } from '../test/fixtures/rights.ts'
import { listNodes } from './node-list.ts'

const NOW_MS = Date.UTC(2026, 10, 20, 12)

function node(name: string, labels: KnownNode['target']['labels'] = WEB.labels): KnownNode {
  return { target: { ...WEB, ref: { kind: 'node', name }, labels }, online: true }
}

interface Asked {
  readonly list: Promise<NodeList>
  readonly questions: ProxyQuestion[]
}

/** Main answers with these pages, one after the other. */
function ask(pages: readonly (readonly KnownNode[])[], answer?: ProxyAnswer): Asked {
  const questions: ProxyQuestion[] = []
  const list = listNodes({
    cluster: CLUSTER,
    trust: { snapshot: testSnapshot({ nowMs: NOW_MS }) },
    session: 7,
    visitor: { peer: { ...alicePeer(NOW_MS), identity: ALICE_LOGIN }, keySha256: 'ff' },
    via: 'proxy.test:443',
    ask(question) {
      questions.push(question)
      assert.ok(question.what === 'nodes')
      const nodes = pages[question.from] ?? []
      const next = question.from + 1 < pages.length ? { next: question.from + 1 } : {}
      return Promise.resolve(answer ?? { what: 'nodes', nodes, ...next })
    },
  })
  return { list, questions }
}

describe('the list of nodes at a proxy', () => {
  it('has what a role of theirs shows, by name, each once, from all pages', async () => {
    const secret = node('secret', { env: 'staging' })
    const { list, questions } = ask([[node('web-2'), secret], [], [node('web-1'), node('web-2')]])
    const { nodes, cut, via } = await list
    assert.deepEqual(
      nodes.map(({ name, host, logins }) => [name, host, logins]),
      [
        ['web-1', `web-1.${CLUSTER}`, ['app']],
        ['web-2', `web-2.${CLUSTER}`, ['app']],
      ],
    )
    assert.deepEqual([cut, via], [false, 'proxy.test:443'])
    assert.deepEqual(
      questions,
      [0, 1, 2].map((from) => ({ what: 'nodes', session: 7, user: 'local/alice', from })),
    )
  })

  it('ends at its bound and says so, and main is asked no further', async () => {
    const most = max('sshNodesListedMax')
    const all = Array.from({ length: most }, (_, at) => node(`n-${String(at).padStart(5, '0')}`))
    const exact = await ask([all]).list
    assert.deepEqual([exact.nodes.length, exact.cut], [most, false])
    const { list, questions } = ask([all, [node('one-more')], [node('never-read')]])
    const { nodes, cut } = await list
    assert.deepEqual([nodes.length, cut, questions.length], [most, true, 2])
  })

  it('passes on what main said of somebody who asks too much', async () => {
    const message = 'too many nodes are asked for by this user at once'
    const { list } = ask([], { what: 'no', kind: 'refused', message })
    await assert.rejects(list, { message })
  })
})
