// What the proxy serves to browsers: the built pages, and the anonymous API calls those pages need. Nothing else passes.

import { readFileSync } from 'node:fs'
import path from 'node:path'

import type { Page } from '../../workers/front.ts'

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html',
  js: 'text/javascript',
  css: 'text/css',
}

/** Path in the browser → file under control/web. */
const FILES: readonly (readonly [string, string])[] = [
  ['/web/invite/*', 'invite.html'],
  ['/web/reset/*', 'invite.html'],
  ['/web/assets/invite.js', 'invite.js'],
  ['/web/assets/style.css', 'style.css'],
]

export function frontPages(): ReadonlyMap<string, Page> {
  const folder = path.resolve(import.meta.dirname, '../../control/web')
  return new Map(
    FILES.map(([at, file]) => [
      at,
      { type: typeOf(file), body: readFileSync(path.join(folder, file)) },
    ]),
  )
}

export function frontGateway(): readonly { readonly method: string; readonly path: RegExp }[] {
  return [
    { method: 'GET', path: /^\/v1\/(?:ping|cas)$/ },
    { method: 'GET', path: /^\/v1\/invites\/[0-9a-f]{16,64}$/ },
    { method: 'POST', path: /^\/v1\/invites\/[0-9a-f]{16,64}$/ },
  ]
}

function typeOf(file: string): string {
  return TYPES[path.extname(file).slice(1)] ?? 'application/octet-stream'
}
