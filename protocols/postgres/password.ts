// How the agent proves who it is to a server that asks: the cases of AuthenticationXxx (manual, "Start-up"), with a stored
// password where somebody allowed the method. A server gets into no later state than its proof: one that asked for SCRAM and then
// lets us in without having proved itself is not believed. No password appears in a reason.

import { createHash } from 'node:crypto'

import type { Reader } from '../../core/bytes/reader.ts'
import { Writer } from '../../core/bytes/writer.ts'
import { max } from '../../core/limits.ts'
import type { PasswordMethod, TargetLogin } from '../../core/protocol.ts'
import { type ChannelBinding, ScramClient } from '../../core/scram.ts'
import { readStartup } from './codec.ts'
import { AUTHENTICATION, FRONTEND_PASSWORD, LENGTH_BYTES, SASL } from './wire.ts'

/** `in`: AuthenticationOk, believed. `wait`: the server goes on by itself. */
export type Step =
  | { readonly kind: 'in' }
  | { readonly kind: 'wait' }
  | { readonly kind: 'say'; readonly bytes: Uint8Array }
  | { readonly kind: 'no'; readonly reason: string }

export const NOT_A_LOGIN = 'the database sent a message that no login allows'

type Phase =
  | { readonly name: 'unasked' }
  /** client-first-message is sent. */
  | { readonly name: 'first'; readonly scram: ScramClient }
  /** client-final-message is sent. */
  | { readonly name: 'final'; readonly scram: ScramClient }
  /** Nothing is owed: the password is sent, or the server has proved itself. */
  | { readonly name: 'answered' }

export class PasswordLogin {
  readonly #login: TargetLogin
  readonly #service: string
  readonly #endPoint: Uint8Array | undefined
  #phase: Phase = { name: 'unasked' }

  /** `service`: what the target is called here. `endPoint`: of the server's certificate; absent without TLS. */
  constructor(login: TargetLogin, service: string, endPoint: Uint8Array | undefined) {
    this.#login = login
    this.#service = service
    this.#endPoint = endPoint
  }

  /** As the server knows it: it was told by the start-up message. */
  get #user(): string {
    const startup = readStartup(this.#login.opening)
    return startup.kind === 'startup' ? startup.user : ''
  }

  /** AuthenticationXxx: Int32 method, then what the method needs. */
  heard(body: Reader): Step {
    const method = body.left < LENGTH_BYTES ? -1 : body.u32()
    switch (method) {
      case AUTHENTICATION.ok:
        return this.#ok(body)
      case AUTHENTICATION.cleartextPassword:
        return this.#cleartext()
      case AUTHENTICATION.md5Password:
        return this.#md5(body)
      case AUTHENTICATION.sasl:
        return this.#sasl(body)
      case AUTHENTICATION.saslContinue:
        return this.#saslContinue(body)
      case AUTHENTICATION.saslFinal:
        return this.#saslFinal(body)
      case AUTHENTICATION.kerberosV5:
      case AUTHENTICATION.gss:
      case AUTHENTICATION.sspi:
        return no('the database asks for Kerberos, which Sluice does not speak to databases')
      default:
        return no(NOT_A_LOGIN)
    }
  }

  #ok(body: Reader): Step {
    if (body.left > 0) return no(NOT_A_LOGIN)
    switch (this.#phase.name) {
      case 'unasked':
      case 'answered':
        return { kind: 'in' }
      case 'first':
      case 'final':
        return no('the database let us in without proving that it knows the password')
    }
  }

  #cleartext(): Step {
    const password = this.#stored('cleartext', 'a password in clear', '--allow-cleartext')
    if (typeof password !== 'string') return password
    const { tls } = this.#login
    if (tls !== 'verify-full' && tls !== 'verify-ca')
      return no('the database asks for a password in clear, which goes over verified TLS only')
    return this.#answer(password)
  }

  /** Byte4 salt. The digest is md5(md5(password, user), salt), in hexadecimal. */
  #md5(body: Reader): Step {
    if (body.left !== SALT_BYTES) return no(NOT_A_LOGIN)
    const password = this.#stored('md5', 'a password (md5)', '--allow-md5')
    if (typeof password !== 'string') return password
    const inner = md5(Buffer.from(password + this.#user))
    return this.#answer(`md5${md5(Buffer.concat([Buffer.from(inner), body.bytes(SALT_BYTES)]))}`)
  }

  /** Strings with the names of mechanisms, the server's favourite first; then a zero byte. */
  #sasl(body: Reader): Step {
    const offered = mechanisms(body)
    if (offered === undefined) return no(NOT_A_LOGIN)
    const password = this.#stored('scram', 'a password (SCRAM)', '')
    if (typeof password !== 'string') return password
    const bound = this.#endPoint !== undefined && offered.has(SASL.scramPlus)
    if (!bound && !offered.has(SASL.scram))
      return no('the database asks for a password by a mechanism that Sluice does not know')
    const scram = new ScramClient(password, this.#login.random, this.#binding(bound))
    this.#phase = { name: 'first', scram }
    const first = Buffer.from(scram.first)
    const mechanism = bound ? SASL.scramPlus : SASL.scram
    return say((writer) => writer.cstring(mechanism).u32(first.length).bytes(first))
  }

  #binding(bound: boolean): ChannelBinding {
    const endPoint = this.#endPoint
    if (endPoint === undefined) return 'none'
    return bound ? { endPoint } : 'unoffered'
  }

  #saslContinue(body: Reader): Step {
    if (this.#phase.name !== 'first') return no(NOT_A_LOGIN)
    const { scram } = this.#phase
    const answer = scram.answer(text(body))
    if ('problem' in answer) return no(`the login by SCRAM failed: ${answer.problem}`)
    this.#phase = { name: 'final', scram }
    return say((writer) => writer.bytes(Buffer.from(answer.message)))
  }

  #saslFinal(body: Reader): Step {
    if (this.#phase.name !== 'final') return no(NOT_A_LOGIN)
    const problem = this.#phase.scram.verify(text(body))
    if (problem !== undefined) return no(`the login by SCRAM failed: ${problem}`)
    this.#phase = { name: 'answered' }
    return { kind: 'wait' }
  }

  /** The stored password, when it may be proved this way and the server has not asked before. */
  #stored(method: PasswordMethod, asked: string, flag: string): string | Step {
    if (this.#phase.name !== 'unasked') return no(NOT_A_LOGIN)
    const { stored } = this.#login
    if (stored?.methods.includes(method) === true) return stored.password
    const command = `tctl db credentials add ${this.#service} --db-user=${this.#user}`
    if (stored === undefined)
      return no(
        `the database asks for ${asked}, and none is stored for this database user: let pg_hba.conf accept the certificate, or have an administrator run "${command}"`,
      )
    return no(
      `the database asks for ${asked}, which the stored one may not be proved by: an administrator allows it with "${`${command} ${flag}`.trim()}"`,
    )
  }

  /** PasswordMessage: String. */
  #answer(password: string): Step {
    if (password.includes('\0')) return no('the stored password holds a zero byte')
    this.#phase = { name: 'answered' }
    return say((writer) => writer.cstring(password))
  }
}

const SALT_BYTES = 4

function no(reason: string): Step {
  return { kind: 'no', reason }
}

/** A message of type 'p': PasswordMessage, SASLInitialResponse, SASLResponse. */
function say(body: (writer: Writer) => Writer): Step {
  const writer = new Writer(max('pgLoginBytesMax')).u8(FRONTEND_PASSWORD).u32(0)
  return { kind: 'say', bytes: body(writer).lengthAt(1).done() }
}

/** Undefined when it is no such list. */
function mechanisms(body: Reader): ReadonlySet<string> | undefined {
  const list = Buffer.from(body.bytes(body.left)).toString('latin1')
  // Each name ends with a zero byte, and so does the list.
  const names = list.split('\0').slice(0, -2)
  const good = list.endsWith('\0\0') && names.every((name) => name !== '')
  return good && names.length <= max('pgSaslMechanismsMax') ? new Set(names) : undefined
}

/** Bytes that are not ASCII become characters that SCRAM does not allow. */
function text(body: Reader): string {
  return Buffer.from(body.bytes(body.left)).toString('latin1')
}

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex')
}
