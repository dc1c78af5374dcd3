// `/healthz`, `/readyz` and `/metrics` of a proxy or agent on its diagnostics port. Plain HTTP for operators' networks: it tells
// states and counts, never names of people or secrets.

import http from 'node:http'

import type { BoundHandle } from '../supervisor/listeners.ts'

export interface DiagnosticsSource {
  readonly role: string
  ready(): boolean
  /** Numbers by name; names become `sluice_<role>_<name>`. */
  gauges(): Readonly<Record<string, number>>
}

export interface Diagnostics {
  readonly addresses: Readonly<Record<string, string>>
  close(): void
}

export async function startDiagnostics(
  listeners: Readonly<Record<string, BoundHandle>>,
  source: DiagnosticsSource,
): Promise<Diagnostics> {
  const handle = listeners['diag']
  if (handle === undefined) return { addresses: {}, close() {} }
  const server = http.createServer({ maxHeaderSize: 8192 }, (request, response) =>
    answer(request.url ?? '', response, source),
  )
  server.requestTimeout = 5000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(handle, () => resolve())
  })
  const address = server.address()
  const text =
    typeof address === 'object' && address !== null ? `${address.address}:${address.port}` : ''
  return {
    addresses: { diag: text },
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function answer(url: string, response: http.ServerResponse, source: DiagnosticsSource): void {
  if (url === '/healthz') return json(response, 200, { status: 'ok' })
  if (url === '/readyz')
    return source.ready()
      ? json(response, 200, { status: 'ok', pid: process.pid })
      : json(response, 503, { status: 'starting', pid: process.pid })
  if (url === '/metrics') {
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' })
    response.end(exposition(source))
    return
  }
  json(response, 404, { status: 'no such page' })
}

function json(response: http.ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(body)}\n`)
}

/** Prometheus text format 0.0.4. */
function exposition(source: DiagnosticsSource): string {
  const memory = process.memoryUsage()
  const all = { ...source.gauges(), rss_bytes: memory.rss, heap_used_bytes: memory.heapUsed, up: 1 }
  const lines = Object.entries(all).map(([name, value]) => {
    const metric = `sluice_${source.role}_${name.replaceAll(/[^a-zA-Z0-9_]/g, '_')}`
    return `# TYPE ${metric} gauge\n${metric} ${value}`
  })
  return `${lines.join('\n')}\n`
}
