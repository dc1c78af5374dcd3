// Seals secrets that lie in the store (one-time-code seeds, ticket keys): AES-256-GCM under a key from a file in control's own
// folder. The key file is wrapped by the passphrase file where there is one, so a copied disk yields nothing; in clear only when
// the configuration says so. The context (whose secret, which kind) is authenticated, so sealed values cannot change places.

import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto'
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'

import { ProxyError } from '../core/errors.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SALT_BYTES = 16
// RFC 7914; 32 MB and a tenth of a second, once per start.
const SCRYPT = { cost: 32_768, blockSize: 8, parallelization: 1, maxmem: 64 * 1024 * 1024 }

export interface Envelope {
  seal(secret: Uint8Array, context: string): string
  /** Throws `store.unavailable` for anything that was not sealed here under this context. */
  open(sealed: string, context: string): Uint8Array
}

export interface EnvelopeOptions {
  readonly file: string
  /** Wraps the key; undefined keeps it in clear (0600). */
  readonly passphrase: Uint8Array | undefined
}

/** Opens the envelope, drawing its key at the first start. */
export async function openEnvelope({ file, passphrase }: EnvelopeOptions): Promise<Envelope> {
  if (!existsSync(file)) await writeKey(file, randomBytes(KEY_BYTES), passphrase)
  if ((statSync(file).mode & 0o077) !== 0)
    throw new ProxyError('config.invalid', `${file} can be read by others.`, {
      next: `chmod 600 ${file}`,
    })
  return envelopeOf(await readKey(file, passphrase))
}

/** An envelope under a key at hand; for tests. */
export function envelopeOf(key: Uint8Array): Envelope {
  return {
    seal: (secret, context) => Buffer.from(encrypt(key, secret, context)).toString('base64'),
    open: (sealed, context) => {
      const opened = decrypt(key, Buffer.from(sealed, 'base64'), context)
      if (opened === undefined)
        throw new ProxyError(
          'store.unavailable',
          'A sealed secret is damaged or from another cluster.',
        )
      return opened
    },
  }
}

async function writeKey(
  file: string,
  key: Uint8Array,
  passphrase: Uint8Array | undefined,
): Promise<void> {
  const salt = randomBytes(SALT_BYTES)
  const content =
    passphrase === undefined
      ? { key: Buffer.from(key).toString('base64') }
      : {
          salt: salt.toString('base64'),
          wrapped: encrypt(await derive(passphrase, salt), key, WRAP).toString('base64'),
        }
  const handle = await open(`${file}.new`, 'w', 0o600)
  await handle.writeFile(JSON.stringify(content))
  await handle.sync()
  await handle.close()
  chmodSync(`${file}.new`, 0o600)
  await rename(`${file}.new`, file)
}

const WRAP = 'envelope-key'

async function readKey(file: string, passphrase: Uint8Array | undefined): Promise<Uint8Array> {
  const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'))
  const content = new Map<string, unknown>(
    Object.entries(typeof parsed === 'object' && parsed !== null ? parsed : {}),
  )
  const clear = content.get('key')
  if (typeof clear === 'string') return Buffer.from(clear, 'base64')
  const [salt, wrapped] = [content.get('salt'), content.get('wrapped')]
  if (typeof salt !== 'string' || typeof wrapped !== 'string' || passphrase === undefined)
    throw new ProxyError(
      'config.invalid',
      `${file} is wrapped and no passphrase file is configured.`,
      {
        next: 'Set key_passphrase_file as it was when the cluster was made.',
      },
    )
  const key = decrypt(
    await derive(passphrase, Buffer.from(salt, 'base64')),
    Buffer.from(wrapped, 'base64'),
    WRAP,
  )
  if (key === undefined)
    throw new ProxyError('config.invalid', `The passphrase does not open ${file}.`)
  return key
}

function derive(passphrase: Uint8Array, salt: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, KEY_BYTES, SCRYPT, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}

function encrypt(key: Uint8Array, secret: Uint8Array, context: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context))
  const sealed = Buffer.concat([cipher.update(secret), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed])
}

function decrypt(key: Uint8Array, sealed: Buffer, context: string): Buffer | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES))
  decipher.setAAD(Buffer.from(context))
  decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
  try {
    return Buffer.concat([
      decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES)),
      decipher.final(),
    ])
  } catch {
    return undefined
  }
}
