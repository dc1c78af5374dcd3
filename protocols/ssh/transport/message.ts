// Numbers of SSH (RFC 4250): messages, reasons, kinds of data. No logic.

export const MESSAGE = {
  disconnect: 1,
  unimplemented: 3,
  serviceRequest: 5,
  serviceAccept: 6,
  extensions: 7,
  kexInit: 20,
  authRequest: 50,
  authFailure: 51,
  authSuccess: 52,
  authBanner: 53,
  /** SSH_MSG_USERAUTH_PK_OK: a signature by this key would be looked at. */
  authKeyOk: 60,
  globalRequest: 80,
  requestSuccess: 81,
  requestFailure: 82,
  channelOpen: 90,
  channelConfirm: 91,
  channelRefused: 92,
  windowAdjust: 93,
  data: 94,
  extendedData: 95,
  eof: 96,
  close: 97,
  channelRequest: 98,
  channelSuccess: 99,
  channelFailure: 100,
} as const

/** Of SSH_MSG_DISCONNECT. */
export const REASON = { protocolError: 2, serviceNotAvailable: 7, byApplication: 11 } as const

/** Of SSH_MSG_CHANNEL_OPEN_FAILURE. */
export const OPEN_REFUSED = {
  prohibited: 1,
  connectFailed: 2,
  unknownType: 3,
  shortage: 4,
} as const

export const STDERR = 1
