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

export interface RecordingQuery {
  readonly fromMs?: number
  readonly toMs?: number
  readonly limit?: number
}

export interface Recording {
  readonly sid: string
  readonly kind: 'ssh' | 'db'
  readonly serverId: string
  readonly user: string
  readonly target: string
  readonly principal: string
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly reason: string
  readonly bytes: number
  readonly chunks: number
  readonly hash: string
}

/** Bytes of the file, base64, in order. */
export interface RecordingPiece {
  readonly data: string
}
