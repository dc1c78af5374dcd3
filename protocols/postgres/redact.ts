// Takes secrets out of SQL before anybody hears of it: literals of statements that set passwords or name connections, wherever
// such SQL stands (several statements, DO blocks, function bodies, strings, comments). README.md lists the statements. It works
// on tokens, and where the text can be read in two ways it leaves out too much. It never looks at data of applications.

import { max } from '../../core/limits.ts'
import { sqlTokens, type StringToken, type Token } from './sql-tokens.ts'

export interface Redacted {
  readonly text: string
  /** The statement carries a secret or is of a kind that does: its parameters and its errors are left out too. */
  readonly secret: boolean
}

export const REDACTED = '<redacted>'

/** Without one of these a text names no secret of ours; most texts are done here. */
const WORTH_A_LOOK = /passw|passphrase|conninfo|connection|dblink|mapping|:\/\/|u&/i
/** Statements about these objects may set a secret. */
const CREDENTIAL_OBJECTS: ReadonlySet<string> = new Set([
  'role',
  'user',
  'group',
  'server',
  'foreign',
  'subscription',
  'system',
])
/** Behind these words every literal of such a statement is a secret. */
const SECRET_WORDS =
  /^(?:(?:ssl)?password|passphrase|connection|primary_conninfo|ssl_passphrase_command)$/
/** SQL or a connection string inside a literal. */
const NESTED = [
  /passw(?:or)?d[^]*[='$]/i,
  /\b(?:create|alter)\s+(?:role|user|group|server|subscription)\b[^]*passw/i,
  /\bpassword\s+$|^\s+password\b/i,
  /:\/\/[^/\s@]*:[^/\s@]+@/,
]

export function redact(text: string): Redacted {
  return WORTH_A_LOOK.test(text) ? redactDeep(text, 0, false) : { text, secret: false }
}

/** `all`: every literal is left out. */
function redactDeep(text: string, depth: number, all: boolean): Redacted {
  const statement = new Statement(all)
  let out = ''
  let done = 0
  let secret = false
  const leaveOut = (token: Token, instead: string): void => {
    out += text.slice(done, token.from) + instead
    done = token.to
    secret = true
  }
  for (const token of sqlTokens(text)) {
    statement.next(token)
    if ((token.kind === 'comment' || token.kind === 'name') && isNested(token.value)) {
      // A name that looks like this began with a quote too many.
      leaveOut(token, token.kind === 'comment' ? '/* redacted */' : `"${REDACTED}"`)
    } else if (token.kind === 'string') {
      // Nobody can say where this literal ends, so nobody can say what stands behind it.
      if (token.ambiguous)
        return { text: `${out}${text.slice(done, token.from)}${REDACTED}`, secret: true }
      const instead = literal(token, statement, depth)
      if (instead !== undefined) leaveOut(token, instead)
    }
    secret ||= statement.armed
  }
  return { text: out + text.slice(done), secret }
}

function isNested(text: string): boolean {
  return NESTED.some((form) => form.test(text))
}

/** What stands for a literal; undefined: itself. */
function literal(token: StringToken, statement: Statement, depth: number): string | undefined {
  if (statement.armed || statement.behindPassword) {
    statement.armed = true
    return `'${REDACTED}'`
  }
  if (!WORTH_A_LOOK.test(token.value)) return undefined
  if (!token.dollar) {
    if (!isNested(token.value)) return undefined
    // What such a literal is put together with is a secret as likely as not.
    statement.armed = true
    return `'${REDACTED}'`
  }
  if (depth === max('pgRedactDepthMax')) return `$$${REDACTED}$$`
  if (!redactDeep(token.value, depth + 1, false).secret) return undefined
  // A secret may stand in a variable far from the statement that uses it.
  return `$redacted$${redactDeep(token.value, depth + 1, true).text}$redacted$`
}

/** What is known of the statement that is being read. */
class Statement {
  /** Every literal from here on is a secret. */
  armed: boolean
  /** The last word was PASSWORD: a literal that follows is one, whatever the statement is. */
  behindPassword = false
  readonly #all: boolean
  #verb = false
  #credential = false
  #mapping = false
  #call = false

  constructor(all: boolean) {
    this.#all = all
    this.armed = all
  }

  next(token: Token): void {
    switch (token.kind) {
      case 'comment':
      case 'string':
        return
      case 'mark':
        if (token.value === ';') this.#begin()
        else if (token.value === '(' && this.#call) this.armed = true
        this.#call = false
        this.behindPassword = false
        return
      case 'name':
      case 'word':
        return this.#word(token)
    }
  }

  #begin(): void {
    this.armed = this.#all
    this.#mapping = false
    this.#verb = false
    this.#credential = false
  }

  #word({ kind, value }: Token & { kind: 'word' | 'name' }): void {
    const plain = kind === 'word'
    if (plain && this.#verb && CREDENTIAL_OBJECTS.has(value)) this.#credential = true
    this.#verb = plain && (value === 'create' || value === 'alter')
    this.#call = value.startsWith('dblink')
    this.behindPassword = plain && value === 'password'
    if (!this.#credential) return
    if (SECRET_WORDS.test(value.toLowerCase())) this.armed = true
    // Whatever a wrapper calls them, the options of a user mapping are how somebody logs in.
    this.#mapping ||= plain && value === 'mapping'
    if (this.#mapping && plain && value === 'options') this.armed = true
  }
}
