// Recordings in control's API: what hosts upload, what people list and read. Types only.

export interface RecordingState {
  /** Durable at control; the next piece begins there. */
  readonly bytes: number
  /** Of the last chunk in them; empty when there is none. */
  readonly hash: string
  readonly sealed: boolean
}

export interface RecordingPutRequest {
  readonly sid: string
  readonly offset: number
  /** Whole chunks, base64; the first piece begins with the file's head. */
  readonly data: string
}

/** Of sessions that ended in a span of time, newest first. */
export interface RecordingQuery {
  readonly fromMs?: number
  readonly toMs?: number
  readonly limit?: number
  /** `next` of the page before. */
  readonly after?: string
}

/** A recording that control has whole. What it says of the session is its recorder's word. */
export interface Recording {
  readonly sid: string
  readonly kind: 'ssh' | 'db'
  /** Who recorded it, by its certificate. */
  readonly serverId: string
  readonly user: string
  readonly target: string
  /** The login or database user. */
  readonly principal: string
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly reason: string
  readonly bytes: number
  readonly chunks: number
  /** Of the last chunk: covers all of it. */
  readonly hash: string
  /** When control had it whole, by control's clock. */
  readonly sealedAtMs: number
}

/** Bytes of the file, base64, in order. */
export interface RecordingPiece {
  readonly data: string
}
