// Passwords of database users that cannot log in with a certificate: kept sealed, handed out only beside a certificate that control
// has just decided on (control/certificates.ts). Bound to whoever owns the database's name, so that another owner's agents of
// the same name get nothing. Listing shows who has one and how it may be proved; nothing here gives a password back.

import { ProxyError } from '../core/errors.ts'
import type { PasswordMethod, StoredPassword } from '../core/protocol.ts'
import type { CallContext } from './api/handler.ts'
import { callerName } from './api/handler.ts'
import type { DbCredential, DbCredentialRequest } from './api/messages.ts'
import { type Base, parseStored, readStored } from './base.ts'
import type { Cache } from './cache.ts'
import {
  DB_CREDENTIALS,
  type DbCredentialRecord,
  dbCredentialKey,
  dbCredentialSchema,
  RESOURCE_OWNER,
} from './records.ts'

const METHODS: readonly PasswordMethod[] = ['scram', 'md5', 'cleartext']

export class DbCredentials {
  readonly #base: Base
  readonly #cache: Cache

  constructor(base: Base, cache: Cache) {
    this.#base = base
    this.#cache = cache
  }

  async put(request: DbCredentialRequest, context: CallContext): Promise<DbCredential> {
    const { database, dbUser, password } = request
    const owner = this.#ownerOf(database)
    if (owner === undefined)
      throw new ProxyError('resource.not-found', `There is no database "${database}".`, {
        side: 'client',
        next: '`tctl db ls` lists those that agents offer; a new one begins with `tctl create`.',
      })
    const allowed = METHODS.filter((each) => each === 'scram' || request.methods.includes(each))
    const record: DbCredentialRecord = {
      database,
      dbUser,
      owner,
      methods: allowed,
      sealed: this.#base.secrets.seal(
        Buffer.from(password, 'utf8'),
        contextOf(owner, request, allowed),
      ),
      changedAtMs: this.#base.clock.now(),
      changedBy: callerName(context.caller),
    }
    const key = dbCredentialKey(database, dbUser)
    await this.#cache.seen(await this.#base.store.put(key, JSON.stringify(record)))
    await context.audit('db.credential.set', 'SLD001I', auditFields(record))
    return this.#shown(record)
  }

  async list(): Promise<readonly DbCredential[]> {
    const found: DbCredential[] = []
    let after: string | undefined
    do {
      const page = await this.#base.store.range({
        prefix: DB_CREDENTIALS,
        ...(after === undefined ? {} : { after }),
      })
      for (const { key, value } of page.items)
        found.push(this.#shown(parseStored(value, dbCredentialSchema, key)))
      after = page.next
    } while (after !== undefined)
    return found
  }

  async delete(database: string, dbUser: string, context: CallContext): Promise<void> {
    const key = dbCredentialKey(database, dbUser)
    const stored = await readStored(this.#base.store, key, dbCredentialSchema)
    if (stored === undefined)
      throw new ProxyError(
        'resource.not-found',
        `There is no stored password of "${dbUser}" for the database "${database}".`,
        { side: 'client', next: '`tctl db credentials ls` lists them.' },
      )
    const [revision = 0] = await this.#base.store.batch([
      { op: 'delete', key, revision: stored.revision },
    ])
    await this.#cache.seen(revision)
    await context.audit('db.credential.delete', 'SLD002I', auditFields(stored.value))
  }

  /** For an agent that was allowed a certificate of this pair; undefined when there is none, or it was another owner's. */
  async find(database: string, dbUser: string, owner: string): Promise<StoredPassword | undefined> {
    const key = dbCredentialKey(database, dbUser)
    const stored = await readStored(this.#base.store, key, dbCredentialSchema)
    if (stored === undefined || stored.value.owner !== owner) return undefined
    const { sealed, methods } = stored.value
    const opened = this.#base.secrets.open(sealed, contextOf(owner, { database, dbUser }, methods))
    return { password: Buffer.from(opened).toString('utf8'), methods }
  }

  /** Who owns the name now: an administrator's resource before an agent's token. */
  #ownerOf(database: string): string | undefined {
    if (this.#cache.database(database) !== undefined) return RESOURCE_OWNER
    return this.#cache.target('db', database)?.owner
  }

  #shown({
    database,
    dbUser,
    methods,
    owner,
    changedAtMs,
    changedBy,
  }: DbCredentialRecord): DbCredential {
    const inUse = this.#ownerOf(database) === owner
    return { database, dbUser, methods, inUse, changedAtMs, changedBy }
  }
}

/** Authenticated with the secret: a sealed value cannot move to another pair, nor gain a weaker method. */
function contextOf(
  owner: string,
  { database, dbUser }: { readonly database: string; readonly dbUser: string },
  methods: readonly PasswordMethod[],
): string {
  return `db-credential ${JSON.stringify([owner, database, dbUser, methods])}`
}

function auditFields({ database, dbUser, methods }: DbCredentialRecord): {
  readonly db_service: string
  readonly db_user: string
  readonly methods: readonly string[]
} {
  return { db_service: database, db_user: dbUser, methods }
}
