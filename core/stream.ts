// Bytes both ways with flow control: what a streaming session owns. Spares, TLS over spares and (later) multiplexed
// streams all look like this; one contract suite tests each. A stream never delivers inside a write (recipe 2: ssh2 breaks).

export interface ByteStream {
  /** The next chunk, or undefined at the end of the peer's bytes. One read at a time. */
  read(): Promise<Uint8Array | undefined>
  /** Resolves when the bytes were taken by the kernel or the buffer is below its bound. Rejects after abort. */
  write(bytes: Uint8Array): Promise<void>
  /** Several pieces in one go, unjoined. Resolves when nothing here needs their memory any more. Absent: `write` keeps what it is given. */
  writeAll?(pieces: readonly Uint8Array[]): Promise<void>
  /** The reader is done with a chunk and nobody kept a view of it: its memory may go (core/bytes/free.ts). */
  release?(chunk: Uint8Array): void
  /** Put bytes back in front of what `read` returns next. */
  unread(bytes: Uint8Array): void
  /** No more writes from us; reading goes on (half-close). */
  end(): Promise<void>
  /** Destroy at once, both ways. Idempotent. */
  abort(cause: Error): void
  /** Resolves when both directions are over, whatever the reason. */
  readonly closed: Promise<void>
}
