// Where private keys live: the KeyStore interface (later also tokens and key services), and its file form. A key file is
// AES-256-GCM under a key derived by scrypt from a passphrase file outside the folder; in clear only when the configuration
// says `insecureKeys`. Files are 0600, appear whole or not at all, and are never written twice.

import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  type KeyObject,
  randomBytes,
  scryptSync,
} from 'node:crypto'
import { mkdir, readdir, stat } from 'node:fs/promises'
import path from 'node:path'

import { canonicalJson } from '../../core/cert/canonical.ts'
import { generateKey, type KeyAlgorithm, type Signer, signerOf } from '../../core/cert/key.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { readPrivate, writeNew } from './files.ts'

export interface KeyStore {
  /** Makes a key under a name nothing has yet. Throws when there is one. */
  create(name: string, algorithm: KeyAlgorithm): Promise<Signer>
  load(name: string): Promise<Signer | undefined>
  list(): Promise<readonly string[]>
  /** True when the keys lie in clear. */
  readonly insecure: boolean
}

export interface FileKeyOptions {
  readonly folder: string
  /** Wraps the keys. A file outside the folder, 0600. */
  readonly passphraseFile?: string
  /** What the file holds, when somebody else may read it and this process may not. */
  readonly passphrase?: Uint8Array
  /** Allows key files in clear. */
  readonly insecureKeys?: boolean
  /** scrypt's N as a power of two; tests make it cheap. Stored with each key. */
  readonly scryptLog2?: number
}

interface Kdf {
  readonly log2: number
  /** Base64. */
  readonly salt: string
}

/** A wrapped key as it stands on disk, JSON. Everything but `nonce` and `sealed` is authenticated with the key. */
interface WrappedKey extends Kdf {
  readonly name: string
  readonly nonce: string
  readonly sealed: string
}

const SUFFIX = '.key'
const NAME = /^[a-z][a-z_]{0,31}$/
/** 128 MB and half a second, once per start. */
const SCRYPT_LOG2 = 17

/** Opens the folder, or makes it. Throws `config.invalid` when neither a passphrase nor `insecureKeys` is given. */
export async function openKeyFiles(options: FileKeyOptions): Promise<KeyStore> {
  const { folder, passphraseFile, insecureKeys = false } = options
  if (passphraseFile === undefined && options.passphrase === undefined && !insecureKeys)
    throw new ProxyError('config.invalid', 'CA keys need a passphrase file.', {
      next: 'Set ca_key_params.passphrase_file, or insecure_keys: true to keep the keys in clear.',
    })
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if (((await stat(folder)).mode & 0o077) !== 0)
    throw unavailable('The key folder is open to other users.', 'chmod 0700 the folder.')
  const passphrase = await passphraseFrom(options)
  return new FileKeyStore(folder, passphrase, insecureKeys, options.scryptLog2 ?? SCRYPT_LOG2)
}

class FileKeyStore implements KeyStore {
  readonly #folder: string
  readonly #passphrase: Buffer | undefined
  readonly #clearAllowed: boolean
  readonly #fresh: Kdf
  /** Keys derived so far, by salt and cost: one scrypt for all files of a folder. */
  readonly #derived = new Map<string, Buffer>()
  #kdf: Kdf | undefined

  constructor(
    folder: string,
    passphrase: Buffer | undefined,
    clearAllowed: boolean,
    scryptLog2: number,
  ) {
    this.#folder = folder
    this.#passphrase = passphrase
    this.#clearAllowed = clearAllowed
    this.#fresh = { log2: scryptLog2, salt: randomBytes(16).toString('base64') }
  }

  get insecure(): boolean {
    return this.#passphrase === undefined
  }

  async create(name: string, algorithm: KeyAlgorithm): Promise<Signer> {
    const { privateKey, signer } = generateKey(algorithm)
    const bytes =
      this.#passphrase === undefined
        ? Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8' }))
        : this.#wrap(name, privateKey, this.#passphrase)
    await writeNew(this.#file(name), bytes, 0o600)
    return signer
  }

  async load(name: string): Promise<Signer | undefined> {
    const bytes = await readPrivate(this.#file(name))
    if (bytes === undefined) return undefined
    const clear = bytes.toString('latin1').startsWith('-----BEGIN')
    if (clear && !this.#clearAllowed)
      throw unavailable(`The key ${name} lies in clear.`, 'Remove it, or set insecure_keys: true.')
    return signerOf(clear ? parseKey(name, bytes) : this.#unwrap(name, bytes))
  }

  async list(): Promise<readonly string[]> {
    const files = await readdir(this.#folder)
    const names = files.filter((file) => file.endsWith(SUFFIX))
    return names.map((file) => file.slice(0, -SUFFIX.length)).sort()
  }

  #file(name: string): string {
    if (!NAME.test(name)) throw new RangeError('a key name is a short lower-case word')
    return path.join(this.#folder, name + SUFFIX)
  }

  #wrap(name: string, privateKey: KeyObject, passphrase: Buffer): Buffer {
    const kdf = (this.#kdf ??= this.#fresh)
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#derive(kdf, passphrase), nonce)
    cipher.setAAD(authenticated(name, kdf))
    const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' })
    const sealed = Buffer.concat([cipher.update(pkcs8), cipher.final(), cipher.getAuthTag()])
    pkcs8.fill(0)
    const file: WrappedKey = {
      name,
      ...kdf,
      nonce: nonce.toString('base64'),
      sealed: sealed.toString('base64'),
    }
    return Buffer.from(`${JSON.stringify(file, undefined, 2)}\n`)
  }

  #unwrap(name: string, bytes: Buffer): KeyObject {
    if (this.#passphrase === undefined)
      throw unavailable(`The key ${name} is wrapped.`, 'Set ca_key_params.passphrase_file.')
    const { nonce, sealed, log2, salt } = parseWrapped(name, bytes)
    const kdf: Kdf = { log2, salt }
    this.#kdf ??= kdf
    const data = Buffer.from(sealed, 'base64')
    const key = this.#derive(kdf, this.#passphrase)
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64'))
    decipher.setAAD(authenticated(name, kdf))
    try {
      decipher.setAuthTag(data.subarray(-16))
      const pkcs8 = Buffer.concat([decipher.update(data.subarray(0, -16)), decipher.final()])
      const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
      pkcs8.fill(0)
      return privateKey
    } catch {
      throw unavailable(
        `The passphrase does not open the key ${name}.`,
        'Check the passphrase file.',
      )
    }
  }

  #derive({ log2, salt }: Kdf, passphrase: Buffer): Buffer {
    const name = `${log2} ${salt}`
    const known = this.#derived.get(name)
    if (known !== undefined) return known
    const N = 2 ** log2
    const key = scryptSync(passphrase, Buffer.from(salt, 'base64'), 32, {
      N,
      r: 8,
      p: 1,
      maxmem: 256 * N * 8,
    })
    this.#derived.set(name, key)
    return key
  }
}

/** Name and cost are bound to the key: a file put under another name, or made cheaper, does not open. */
function authenticated(name: string, { log2, salt }: Kdf): Buffer {
  return Buffer.from(`sluice:key:v1\n${canonicalJson({ name, log2, salt })}`)
}

function parseWrapped(name: string, bytes: Buffer): WrappedKey {
  const value: unknown = parseJson(bytes.toString('utf8'))
  if (typeof value === 'object' && value !== null) {
    const { log2, salt, nonce, sealed, name: inside } = value as Partial<Record<string, unknown>>
    const texts =
      typeof salt === 'string' && typeof nonce === 'string' && typeof sealed === 'string'
    if (texts && inside === name && isCost(log2)) return { name, log2, salt, nonce, sealed }
  }
  throw unavailable(`The key file ${name} is damaged.`, 'Restore it from a backup.')
}

function isCost(log2: unknown): log2 is number {
  if (typeof log2 !== 'number' || !Number.isInteger(log2)) return false
  return log2 >= max('scryptLog2Min') && log2 <= max('scryptLog2Max')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function parseKey(name: string, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch {
    throw unavailable(`The key file ${name} is damaged.`, 'Restore it from a backup.')
  }
}

/** One line feed at the end is the editor's, not the passphrase's. */
async function passphraseFrom(options: FileKeyOptions): Promise<Buffer | undefined> {
  const { passphrase, passphraseFile: file } = options
  if (passphrase !== undefined)
    return checkPassphrase(Buffer.from(passphrase), 'the passphrase file')
  if (file === undefined) return undefined
  const bytes = await readPrivate(file, max('passphraseBytesMax'))
  if (bytes === undefined) throw unavailable('There is no passphrase file.', `Create ${file}.`)
  return checkPassphrase(bytes, file)
}

function checkPassphrase(bytes: Buffer, file: string): Buffer {
  const passphrase = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes
  if (passphrase.length < max('passphraseBytesMin'))
    throw unavailable(
      'The passphrase is too short.',
      `Write at least ${max('passphraseBytesMin')} characters into ${file}.`,
    )
  return passphrase
}

function unavailable(message: string, next: string): ProxyError {
  return new ProxyError('signer.unavailable', message, { next })
}
