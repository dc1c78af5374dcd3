// The quickstart's first person: a role, a user, the invite completed with a drawn password and one-time code, the login, the
// database certificate. Each step is the one a real user takes, through the public port.

import { randomBytes } from 'node:crypto'

import type { ControlClient } from '../../control/api/client.ts'
import type { DbCertificate, LoginReply } from '../../control/api/messages.ts'
import { totpCode } from '../../control/login/totp.ts'
import { generateKey } from '../../core/cert/key.ts'
import { max } from '../../core/limits.ts'
import type { KeyPair } from '../profile.ts'
import { type NewSshKey, newSshKey } from '../ssh/keep.ts'
import { DEMO } from './database.ts'

export interface Person {
  readonly user: string
  readonly password: string
  readonly otpSecret: string
  readonly otpUri: string
}

export interface NewPerson {
  readonly user: string
  readonly roles: readonly string[]
  readonly traits: Readonly<Record<string, readonly string[]>>
}

export interface LoggedIn {
  readonly reply: LoginReply
  readonly pair: KeyPair
  readonly sshKey: NewSshKey
}

/** Creates user and invite as the local administrator, and completes the invite as the person would. */
export async function createPerson(
  admin: ControlClient,
  anonymous: ControlClient,
  wanted: NewPerson,
): Promise<Person> {
  const { user, roles, traits } = wanted
  const { invite } = await admin.call('user-create', { name: user, roles, traits })
  const { token } = invite
  const { otpSecret, otpUri } = await anonymous.call('invite-read', { token })
  const password = randomBytes(12).toString('base64url')
  await anonymous.call('invite-complete', { token, password, otp: codeAt(otpSecret, 0) })
  return { user, password, otpSecret, otpUri }
}

/** Logs in. The code of the invite is used up, so the next step's is taken: control accepts one step ahead. */
export async function logIn(anonymous: ControlClient, person: Person): Promise<LoggedIn> {
  const { key, publicKey } = newKey()
  const sshKey = newSshKey()
  const reply = await anonymous.call('login', {
    user: person.user,
    password: person.password,
    otp: codeAt(person.otpSecret, 1),
    publicKey,
    sshPublicKey: sshKey.publicKey,
  })
  return { reply, pair: { certificate: reply.certificate, key }, sshKey }
}

/** The certificate routed to one database. */
export async function logInToDatabase(
  client: ControlClient,
  service: string,
): Promise<{ reply: DbCertificate; pair: KeyPair }> {
  const { key, publicKey } = newKey()
  const reply = await client.call('certificate-db', {
    service,
    dbUser: DEMO.user,
    dbName: DEMO.database,
    publicKey,
  })
  return { reply, pair: { certificate: reply.certificate, key } }
}

function newKey(): { key: string; publicKey: string } {
  const { privateKey, signer } = generateKey('ecdsa-p256')
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: Buffer.from(signer.spki).toString('base64'),
  }
}

export function codeAt(secret: string, stepsAhead: number): string {
  return totpCode(base32Bytes(secret), Math.floor(Date.now() / max('totpStepMs')) + stepsAhead)
}

/** RFC 4648 base32, without padding. */
function base32Bytes(text: string): Uint8Array {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  const bytes: number[] = []
  let bits = 0
  let value = 0
  for (const letter of text.replaceAll(/[\s=]/g, '').toUpperCase()) {
    value = ((value << 5) | alphabet.indexOf(letter)) & 0xfff
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes.push((value >> bits) & 0xff)
  }
  return Uint8Array.from(bytes)
}
