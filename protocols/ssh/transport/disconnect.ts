// The last message of a connection (RFC 4253, section 11.1): a reason as a number, and as a sentence that the peer's client shows.

import { max } from '../../../core/limits.ts'
import { SshReader, string, u32 } from '../../../core/ssh/bytes.ts'
import { MESSAGE } from './message.ts'

export function writeDisconnect(reason: number, sentence: string): Uint8Array {
  const said = string(sentence.slice(0, max('sshBannerCharsMax')))
  return Buffer.concat([Uint8Array.of(MESSAGE.disconnect), u32(reason), said, string('')])
}

export interface Farewell {
  /** Undefined: it was not said. */
  readonly reason: number | undefined
  /** Cut and without control characters. */
  readonly sentence: string
}

export const NO_FAREWELL: Farewell = { reason: undefined, sentence: '' }

/** Nothing when it is not spelt as it should be: the peer goes anyway. */
export function readDisconnect(payload: Uint8Array): Farewell {
  try {
    const reader = new SshReader(payload.subarray(1))
    const [reason, text] = [reader.u32(), reader.text()]
    const sentence = text.slice(0, max('sshBannerCharsMax')).replaceAll(/\p{Cc}+/gu, ' ')
    return { reason, sentence }
  } catch {
    return NO_FAREWELL
  }
}
