// Bytes both ways with flow control: what a streaming session owns. Spares, TLS over spares and (later) multiplexed
// streams all look like this; one contract suite tests each. A stream never delivers inside a write (recipe 2: ssh2 breaks).

export interface ByteStream {
  /** The next chunk, or undefined at the end of the peer's bytes. One read at a time. */
  read(): Promise<Uint8Array | undefined>
  /** Resolves when the bytes were taken by the kernel or the buffer is below its bound. Rejects after abort. */
  write(bytes: Uint8Array): Promise<void>
  /** The same for several pieces, in one go to the kernel and without putting them together. Absent: this stream has no way to. */
  writeAll?(pieces: readonly Uint8Array[]): Promise<void>
  /** Put bytes back in front of what `read` returns next. */
  unread(bytes: Uint8Array): void
  /** No more writes from us; reading goes on (half-close). */
  end(): Promise<void>
  /** Destroy at once, both ways. Idempotent. */
  abort(cause: Error): void
  /** Resolves when both directions are over, whatever the reason. */
  readonly closed: Promise<void>
}
