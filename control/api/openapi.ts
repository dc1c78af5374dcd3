// The OpenAPI 3.1 document of the API, made from the route table: what is not in the table is not in the document.

import * as z from 'zod'

import type { CallName } from './calls.ts'
import { apiErrorSchema } from './checks.ts'
import type { JsonObject } from './messages.ts'
import { CALL_NAMES, type Row, ROUTES } from './schema.ts'

/** The document for a cluster of this version. */
export function openApiDocument(version: string): JsonObject {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const name of CALL_NAMES) {
    const row: Row<CallName> = ROUTES[name]
    const path = row.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [row.method.toLowerCase()]: operation(name, row) }
  }
  const document = {
    openapi: '3.1.0',
    info: {
      title: 'Sluice control',
      version,
      description: 'Mutual TLS, ALPN sluice-control. Times are milliseconds since the epoch.',
    },
    paths,
    components: { schemas: { Error: schemaOf(apiErrorSchema) } },
  }
  // Through text: zod's result holds values that are no plain JSON.
  return JSON.parse(JSON.stringify(document)) as JsonObject
}

function operation(name: CallName, row: Row<CallName>): object {
  const type = row.stream !== undefined ? 'application/x-ndjson' : 'application/json'
  const reply = { description: 'Done.', content: { [type]: { schema: schemaOf(row.reply) } } }
  const error = {
    description: 'Refused or failed.',
    content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
  }
  const request = schemaOf(row.request)
  return {
    operationId: name,
    'x-who': row.who,
    'x-permission': row.permission,
    'x-audit': row.audit,
    'x-mfa': row.mfa,
    ...placed(row, request),
    responses: { '200': reply, default: error },
  }
}

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, unknown>>
  readonly required?: readonly string[]
}

/** Path parameters, and the rest as query or as body. */
function placed(row: Row<CallName>, request: ObjectSchema): object {
  const inPath = [...row.path.matchAll(/:(\w+)/g)].map(([, name]) => name ?? '')
  const properties = Object.entries(request.properties ?? {})
  const required = request.required ?? []
  const hasBody = row.method === 'POST' || row.method === 'PUT'
  const parameters = properties
    .filter(([name]) => inPath.includes(name) || !hasBody)
    .map(([name, schema]) => ({
      name,
      schema,
      in: inPath.includes(name) ? 'path' : 'query',
      required: inPath.includes(name) || required.includes(name),
    }))
  if (!hasBody) return { parameters }
  const rest = properties.filter(([name]) => !inPath.includes(name))
  const schema = {
    ...request,
    properties: Object.fromEntries(rest),
    required: required.filter((name) => !inPath.includes(name)),
  }
  return {
    parameters,
    requestBody: { required: true, content: bodyContent(row, schema) },
  }
}

/** NDJSON is described as one item is: a line of text. */
function bodyContent(row: Row<CallName>, schema: object): object {
  return row.lines === true
    ? { 'application/x-ndjson': { schema: { type: 'string' } } }
    : { 'application/json': { schema } }
}

function schemaOf(schema: z.ZodType): ObjectSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    reused: 'inline',
  })
  return rest
}
