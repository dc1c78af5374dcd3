// A client's message as it is kept until its answer: one function per message of the manual's "Message Formats" that asks for
// something. Within limits, and lenient as asked.ts says.

import { max } from '../../core/limits.ts'
import { type Body, readParameters, readStatement } from './asked.ts'
import type { Pending, PendingQueue } from './pending.ts'
import { FRONTEND } from './wire.ts'

/** Undefined: nothing that the server answers by itself (Flush, CopyData, Terminate). */
export function readPending(
  code: number,
  body: Body,
  queue: PendingQueue,
  atMs: number,
): Pending | undefined {
  switch (code) {
    case FRONTEND.query: {
      const statement = readStatement(body, '', queue.room(max('pgStatementBytesMax')))
      const { bytes } = statement
      return {
        kind: 'query',
        statement,
        bytes,
        atMs,
        tags: [],
        commands: 0,
        rows: 0,
        failure: undefined,
      }
    }
    case FRONTEND.parse: {
      const name = body.name()
      const statement = readStatement(body, name, queue.room(max('pgStatementBytesMax')))
      return { kind: 'parse', statement, bytes: statement.bytes, atMs }
    }
    case FRONTEND.bind: {
      const portal = body.name()
      const statement = body.name()
      const parameters = readParameters(body, queue.room(max('pgParametersBytesMax')))
      return { kind: 'bind', portal, statement, parameters, bytes: parameters.bytes, atMs }
    }
    case FRONTEND.execute:
      return { kind: 'execute', portal: body.name(), rowsMax: body.u32(), bytes: 0, atMs }
    case FRONTEND.describe:
      return { kind: 'describe', what: body.u8(), name: body.name(), bytes: 0, atMs }
    case FRONTEND.close:
      return { kind: 'close', what: body.u8(), name: body.name(), bytes: 0, atMs }
    case FRONTEND.functionCall: {
      const oid = body.u32()
      const parameters = readParameters(body, queue.room(max('pgParametersBytesMax')))
      const { bytes } = parameters
      return { kind: 'function', oid, parameters, bytes, atMs, returned: false, failure: undefined }
    }
    case FRONTEND.sync:
      return { kind: 'sync', bytes: 0, atMs }
    case FRONTEND.copyDone:
    case FRONTEND.copyFail:
      return { kind: 'copy-end', bytes: 0, atMs }
    default:
      return undefined
  }
}
