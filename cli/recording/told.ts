// A stored recording beside what the audit log was told of it while it was made and when control had it whole. Its chunks are chained, but
// whoever may write its file can make another chain: the log's hashes are what such a one does not have.

import type { ControlClient } from '../../control/api/client.ts'
import type { JsonObject } from '../../control/api/messages.ts'
import type { Damage, VerifiedChunk } from '../../core/recording/verify.ts'

const UPLOAD = 'session.upload'
const TYPES = `${UPLOAD},session.recording.chunks`
/** Clocks of a host and of control may differ by as much. */
const EARLIER_MS = 3_600_000

interface Place {
  readonly hash: string
  readonly offset: number
}

export class ToldChunks {
  readonly #seen = new Map<number, Place>()
  #end = 0

  saw({ chunk, offset }: VerifiedChunk): void {
    this.#seen.set(chunk.seq, { hash: chunk.hash, offset })
    this.#end = Math.max(this.#end, chunk.seq)
  }

  /** `compared`: events that were found. */
  async compare(
    client: ControlClient,
    sid: string,
    startedAtMs: number = EARLIER_MS,
  ): Promise<{ compared: number; replaced: readonly Damage[] }> {
    const replaced: Damage[] = []
    const fromMs = Math.max(0, startedAtMs - EARLIER_MS)
    let compared = 0
    let uploaded = false
    for (let cursor: string | undefined; ; ) {
      const page = await client.call('audit-list', {
        types: TYPES,
        sid,
        fromMs,
        ...(cursor === undefined ? {} : { cursor }),
      })
      for (const event of page.items) {
        compared++
        uploaded ||= event['event'] === UPLOAD
        const damage = this.#judge(event)
        if (damage !== undefined) replaced.push(damage)
      }
      cursor = page.next
      if (cursor === undefined) break
    }
    if (!uploaded) replaced.push(replacedAt(0, 'the audit log was never told that control has it'))
    return { compared, replaced: replaced.sort((a, b) => a.offset - b.offset) }
  }

  #judge(event: JsonObject): Damage | undefined {
    const whole = event['event'] === UPLOAD
    const seq = Number(whole ? event['chunks'] : event['chunk_seq'])
    const told = whole ? 'the whole' : 'it so far'
    const place = this.#seen.get(seq)
    const end = this.#seen.get(this.#end)?.offset ?? 0
    if (place === undefined)
      return replacedAt(end, `chunk ${seq}, which the audit log was told of, is not in it`)
    if (place.hash !== event['chunk_hash'])
      return replacedAt(place.offset, `chunk ${seq} is not what the audit log was told of ${told}`)
    if (whole && seq !== this.#end)
      return replacedAt(end, `it goes on behind chunk ${seq}, its last by the audit log`)
    return undefined
  }
}

function replacedAt(offset: number, detail: string): Damage {
  return { kind: 'replaced', offset, detail }
}
