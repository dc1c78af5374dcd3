// The account of an SFTP session: its bytes are observed before they pass, both ways, and what the observer cannot attribute ends it.

import { ProxyError } from '../../core/errors.ts'
import type { Served } from './served.ts'
import { SftpObserver } from './sftp-observer.ts'
import { bytesOf, type Account, type Over } from './telling.ts'

export class SftpAccount implements Account {
  readonly #served: Served
  readonly #observer: SftpObserver
  #begun = false

  constructor(served: Served) {
    this.#served = served
    this.#observer = new SftpObserver((code, fields) => served.tell(code, fields))
  }

  begun(): void {
    this.#begun = true
    this.#served.tell('T3001I', { name: 'sftp' })
  }

  fromClient(bytes: Uint8Array): Promise<void> | undefined {
    this.#observer.fromClient(bytes)
    return this.#room()
  }

  fromProgram(bytes: Uint8Array): Promise<void> | undefined {
    this.#observer.fromServer(bytes)
    return this.#room()
  }

  resized(): undefined {
    return undefined
  }

  over(over: Over): Promise<void> {
    if (this.#begun) this.#observer.end()
    else this.#served.tell('T3001E', { name: 'sftp', error: over.error })
    this.#served.tell('T2006I', bytesOf(over))
    return Promise.resolve()
  }

  #room(): Promise<void> | undefined {
    const { fault } = this.#observer
    if (fault === undefined) return this.#served.ssh.auditRoom()
    const message = `the file transfer ends: ${fault}`
    throw new ProxyError('protocol.violation', message, { side: 'client' })
  }
}
