// What the signer certifies, before OpenSSH itself: a stock sshd that trusts the cluster's `openssh` key and shows an enrolled host
// certificate, and a stock ssh that trusts the cluster's host key. sshd speaks over ssh's own pipe, so there is no port.

import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { publicBlob } from '../core/ssh/key.ts'
import { CLUSTER, userIdentity } from '../test/fixtures/certificates.ts'
import { temporaryFolder } from '../test/fixtures/files.ts'
import { run } from '../test/fixtures/processes.ts'
import { exportAuthority } from './auth-export.ts'
import type { SshIssued } from './signer/api.ts'
import { openSigner } from './signer/signer.ts'

const SSHD = '/usr/sbin/sshd'
const HOST = 'old.example.com'
const LOGIN = userInfo().username
const PERMITS = { agentForwarding: false, portForwarding: false, x11: false }

const folder = await temporaryFolder({ after })
const signer = await openSigner({ folder, cluster: CLUSTER, insecureKeys: true })
const config = join(folder, 'sshd_config')
const knownHosts = join(folder, 'known_hosts')

before(async () => {
  if (userInfo().uid === 0 && !existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 })
  const authorities = await signer.authorities()
  const key = newKey('host')
  const request = { id: HOST, publicKey: key, hosts: [HOST], ttlMs: 3_600_000, enrolled: true }
  writeCertificate('host', await signer.sshHost(request))
  writeFileSync(join(folder, 'ca.pub'), exportAuthority(authorities, 'openssh'))
  writeFileSync(knownHosts, exportAuthority(authorities, 'host').replace(`*.${CLUSTER}`, '*'))
  const lines = [
    `HostKey ${join(folder, 'host')}`,
    `HostCertificate ${join(folder, 'host-cert.pub')}`,
    `TrustedUserCAKeys ${join(folder, 'ca.pub')}`,
    'AuthorizedKeysFile none',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin prohibit-password',
    'UsePAM no',
    'StrictModes no',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
})

/** A key of this name on disk; its blob. */
function newKey(name: string): Uint8Array {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  writeFileSync(join(folder, name), pemOf(privateKey), { mode: 0o600 })
  return publicBlob(publicKey)
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}

function writeCertificate(name: string, { certificate }: SshIssued): void {
  const text = Buffer.from(certificate).toString('base64')
  const type = 'ecdsa-sha2-nistp256-cert-v01@openssh.com'
  writeFileSync(join(folder, `${name}-cert.pub`), `${type} ${text}\n`)
}

/** What `id -un` says there, or what ssh says instead. */
async function whoAmI(name: string, host = HOST): Promise<string> {
  const options = [
    '-F/dev/null',
    `-oProxyCommand=${SSHD} -i -f ${config}`,
    `-oUserKnownHostsFile=${knownHosts}`,
    '-oGlobalKnownHostsFile=/dev/null',
    '-oStrictHostKeyChecking=yes',
    '-oBatchMode=yes',
    '-oIdentitiesOnly=yes',
    '-oIdentityAgent=none',
    '-i',
    join(folder, name),
  ]
  const { stdout, stderr } = await run('ssh', [...options, `${LOGIN}@${host}`, 'id', '-un'])
  return stdout === '' ? stderr : stdout.trim()
}

async function certified(name: string, login: string): Promise<void> {
  const publicKey = newKey(name)
  const request = { user: 'alice', publicKey, login, permits: PERMITS }
  writeCertificate(name, await signer.sshOpenssh(request))
}

describe('A stock sshd', () => {
  it('lets a proxy’s certificate in as the login it names, and ssh believes the host’s', async () => {
    await certified('good', LOGIN)
    assert.equal(await whoAmI('good'), LOGIN)
  })

  it('lets it in as nobody else', async () => {
    await certified('other', 'somebody')
    assert.match(await whoAmI('other'), /Permission denied/)
  })

  it('lets no certificate of a person in: that is for nodes of ours', async () => {
    const publicKey = newKey('person')
    const identity = userIdentity()
    const request = { identity, publicKey, logins: [LOGIN], permits: PERMITS, ttlMs: 3_600_000 }
    writeCertificate('person', await signer.sshUser(request))
    assert.match(await whoAmI('person'), /Permission denied/)
  })

  it('is not believed under another name', async () => {
    await certified('again', LOGIN)
    assert.match(await whoAmI('again', 'new.example.com'), /Host key verification failed/)
  })
})
