// The requests for SSH certificates as they cross the signer's socket (protocol.ts): read field by field, nothing has a default.

import type { SshHostRequest, SshOpensshRequest, SshPermits, SshUserRequest } from './api.ts'
import type { Reader } from './fields.ts'

export function readSshUser(reader: Reader): Omit<SshUserRequest, 'identity'> {
  return {
    publicKey: reader.bytes('publicKey'),
    logins: reader.texts('logins'),
    permits: readPermits(reader.inner('permits')),
    ttlMs: reader.count('ttlMs'),
  }
}

export function readSshHost(reader: Reader): SshHostRequest {
  return {
    id: reader.text('id'),
    publicKey: reader.bytes('publicKey'),
    hosts: reader.texts('hosts'),
    ttlMs: reader.count('ttlMs'),
    ...(reader.has('enrolled') ? { enrolled: reader.flag('enrolled') } : {}),
  }
}

export function readSshOpenssh(reader: Reader): SshOpensshRequest {
  return {
    user: reader.text('user'),
    publicKey: reader.bytes('publicKey'),
    login: reader.text('login'),
    permits: readPermits(reader.inner('permits')),
    ...(reader.has('ttlMs') ? { ttlMs: reader.count('ttlMs') } : {}),
  }
}

function readPermits(reader: Reader): SshPermits {
  return {
    agentForwarding: reader.flag('agentForwarding'),
    portForwarding: reader.flag('portForwarding'),
    x11: reader.flag('x11'),
  }
}
