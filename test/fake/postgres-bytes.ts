// PostgreSQL messages for tests, written by other code than the product's, so that it is not tested against itself.

/** Byte1 type, Int32 length, body. */
export function message(type: string, body: string | Uint8Array = ''): Buffer {
  const bytes = Buffer.from(body)
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeUInt32BE(4 + bytes.length, 1)
  return Buffer.concat([head, bytes])
}

/** Int32 length, Int32 version, the text with its zero bytes, the last zero byte. */
export function startup(parameters: string | Uint8Array, version: number = 0x0003_0000): Buffer {
  const body = Buffer.concat([Buffer.alloc(8), Buffer.from(parameters), Buffer.alloc(1)])
  body.writeUInt32BE(body.length, 0)
  body.writeUInt32BE(version, 4)
  return body
}

/** Int32 length, Int32 code, more. */
export function request(code: number, more: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + more.length, 0)
  head.writeUInt32BE(code, 4)
  return Buffer.concat([head, more])
}

export const authenticationOk: Buffer = message('R', Buffer.from([0, 0, 0, 0]))
export const ready: Buffer = message('Z', 'I')

/** The fields of an ErrorResponse by letter; undefined when the bytes are not exactly one. */
export function errorFields(bytes: Buffer): Record<string, string> | undefined {
  if (bytes[0] !== 0x45 || bytes.length !== 1 + bytes.readUInt32BE(1)) return undefined
  const text = bytes.toString('utf8', 5)
  if (!text.endsWith('\0\0')) return undefined
  const fields = text.slice(0, -2).split('\0')
  return Object.fromEntries(fields.map((field) => [field.charAt(0), field.slice(1)]))
}
