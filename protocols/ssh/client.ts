// The door for programs that are clients of SSH themselves (`tsh ssh`, `tsh scp`): a connection up to its authentication, its
// channels, and whom it trusts. Nothing here opens a socket: the caller brings a ByteStream. It re-exports what a client needs and
// keeps the rest of transport/ out of reach.

export { connectSsh } from './transport/connect.ts'
export type { ConnectOptions, Connected } from './transport/connect.ts'
export type {
  ChannelOpening,
  ConnectionHandlers,
  SshConnection,
} from './transport/connection.ts'
export type { SshChannel } from './transport/channel.ts'
export { algorithmsOf, certificateKey, hostVerifier } from './transport/host-key.ts'
export type { CertificateKey } from './transport/host-key.ts'
export type { ChannelKind, ChannelRequest, Exit, WindowSize } from './transport/requests.ts'
