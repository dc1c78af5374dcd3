// A whole cluster that is a node itself, and OpenSSH's client with what `tsh config` prints: SSH through the public port.

import type { RecordingMode } from '../core/snapshot.ts'
import { openAccount } from '../test/fixtures/account.ts'
import { type Cluster, startCluster } from '../test/fixtures/cluster.ts'
import { NODE_NAME } from '../test/fixtures/cluster-file.ts'
import type { Cleanup } from '../test/fixtures/files.ts'
import { Tsh } from '../test/fixtures/tsh.ts'
import { cpuSeconds } from './scenario.ts'
import type { SshWay } from './ssh-rig.ts'

export interface SshPort {
  readonly cluster: Cluster
  readonly tsh: Tsh
  readonly login: string
  readonly way: SshWay
}

const ROLE = { allow: { node_labels: { '*': '*' }, logins: ['{{internal.logins}}'] } }

export async function sshPort(cleanup: Cleanup, recording: RecordingMode): Promise<SshPort> {
  const { login } = await openAccount(cleanup)
  const extra = { auth_service: [`session_recording: ${recording}`] }
  const cluster = await startCluster(cleanup, { ssh: {}, extra })
  await cluster.role('everywhere', ROLE)
  const who = { user: 'bench', roles: ['everywhere'], traits: { logins: [login] } }
  const tsh = await Tsh.login(cleanup, cluster, who)
  const config = await tsh.sshConfig()
  const pid = cluster.pid('agent')
  const ends = [cluster.pid('proxy'), pid]
  const cpu = (): number => ends.reduce((sum, each) => sum + cpuSeconds(each), 0)
  const options = ['-o', 'BatchMode=yes', '-o', 'LogLevel=ERROR']
  const args = ['-F', config, ...options, '-l', login, `${NODE_NAME}.test.cluster`]
  const way = { name: `through the port, recording ${recording}`, args, pid, cpu, env: tsh.env }
  return { cluster, tsh, login, way }
}
