// What a proxy or an agent may ask control for with its own genuine certificate, whatever it has become: the rows below, and nothing
// else of the table of calls. A call that is added is refused to both until somebody adds it here.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import type { CallName } from '../../control/api/calls.ts'
import type { ControlClient } from '../../control/api/client.ts'
import { CALL_NAMES, ROUTES } from '../../control/api/schema.ts'
import { readPem } from '../../core/cert/pem.ts'
import { readCertificate } from '../../core/cert/x509.ts'
import { errorCode } from '../../core/errors.ts'
import {
  CLUSTER,
  newCsr,
  newMember,
  startTestControl,
  type TestControl,
} from '../fixtures/control.ts'
import { atEnd, suiteCleanup } from '../fixtures/files.ts'

/** Strangers may, so everybody may; each is harmless or asks for a secret of its own. */
const ANYONE: readonly CallName[] = [
  'ping',
  'cas',
  'login',
  'invite-read',
  'invite-complete',
  'join',
]
const BOTH: readonly CallName[] = [
  ...ANYONE,
  'renew',
  'certificate-ssh-host',
  'watch',
  'audit-upload',
  'recording-state',
  'recording-put',
  'lease-take',
  'lease-keep',
  'lease-release',
]
const PROXY: readonly CallName[] = [...BOTH, 'certificate-openssh', 'permit', 'proxy-self', 'ticket-keys']
const AGENT: readonly CallName[] = [...BOTH, 'inventory', 'certificate-db-client']

describe('A hostile proxy or agent at control', () => {
  const cleanup = suiteCleanup()
  let control: TestControl

  before(async () => {
    control = await startTestControl()
    atEnd(cleanup, () => control.remove())
  })

  it('gets none of the calls that make certificates, tokens, users or roles', async () => {
    const proxy = await newMember(control, 'proxy')
    assert.deepEqual(await refused(proxy.client), without(PROXY))
  })

  it('an agent’s certificate is no proxy’s: it gets no inventory, no routing keys and no permit', async () => {
    const agent = await newMember(control, 'agent')
    assert.deepEqual(await refused(agent.client), without(AGENT))
    const watch = agent.client.stream('watch', { class: 'proxy' })
    await assert.rejects(watch.next(), (error) => errorCode(error) === 'policy.denied')
  })

  it('gets no certificate for the name of a target', async () => {
    const proxy = await newMember(control, 'proxy')
    const target = { kind: 'db', name: 'orders', protocol: 'postgres', labels: {}, description: '' }
    const { csr } = newCsr()
    await assert.rejects(
      proxy.client.call('inventory', { targets: [{ ...target, kind: 'db' }], csr }),
      (error) => errorCode(error) === 'policy.denied',
    )
    // Nor by renewing its own: what it gets names itself.
    const { certificate } = await proxy.client.call('renew', { csr: newCsr().csr })
    const [leaf = new Uint8Array(0)] = readPem('CERTIFICATE', certificate)
    const { dnsNames } = readCertificate(leaf).extensions
    assert.ok(dnsNames.length > 0)
    for (const name of dnsNames)
      assert.doesNotMatch(name, /\.(db|node|app|kube|desktop)\./, CLUSTER)
  })
})

/** Fills the path of every row. */
const ANYTHING = {
  kind: 'role',
  name: 'access',
  id: 'some',
  token: 'some',
  sid: 'some',
  database: 'some',
  dbUser: 'some',
}

/** Calls that are denied for who asks; the others may fail for what is asked. */
async function refused(client: ControlClient): Promise<readonly CallName[]> {
  const names: CallName[] = []
  for (const name of CALL_NAMES) if (await isRefused(client, name)) names.push(name)
  return names
}

async function isRefused(client: ControlClient, name: CallName): Promise<boolean> {
  try {
    if (ROUTES[name].stream !== undefined)
      await client.stream(name as 'watch', { class: 'agent', ...ANYTHING }).next()
    else await client.call(name as 'resource-get', ANYTHING)
    return false
  } catch (error) {
    return errorCode(error) === 'policy.denied'
  }
}

function without(allowed: readonly CallName[]): readonly CallName[] {
  return CALL_NAMES.filter((name) => !allowed.includes(name))
}
