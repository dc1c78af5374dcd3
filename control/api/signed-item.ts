// One line of a watch as the signed message it carries.

import type { SignedMessage } from '../../core/snapshot-codec.ts'
import type { WatchItem } from './messages.ts'

export function signedMessageOf({ type, body, signature, payload }: WatchItem): SignedMessage {
  return {
    type,
    body: Buffer.from(body, 'base64'),
    signature: Buffer.from(signature, 'base64'),
    ...(payload === undefined ? {} : { payload: Buffer.from(payload, 'base64') }),
  }
}
