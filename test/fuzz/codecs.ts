// Every codec that reads what others wrote. A new one is added here, or nobody fuzzes it.

import { certificateCodecs } from './codecs/certificates.ts'
import { firstBytes } from './codecs/first-bytes.ts'
import { postgresCodecs } from './codecs/postgres.ts'
import { predicateCodecs } from './codecs/predicate.ts'
import { sshCodecs } from './codecs/ssh.ts'
import { sshClientCodecs } from './codecs/ssh-clients.ts'
import { sshWayCodecs } from './codecs/ssh-ways.ts'
import { textCodecs } from './codecs/text.ts'
import { tunnelCodecs } from './codecs/tunnel.ts'
import type { Codec } from './engine.ts'

export const CODECS: readonly Codec[] = [
  ...firstBytes,
  ...postgresCodecs,
  ...tunnelCodecs,
  ...certificateCodecs,
  ...sshCodecs,
  ...sshClientCodecs,
  ...sshWayCodecs,
  ...textCodecs,
  ...predicateCodecs,
]
