import { deepEqual, equal, ok } from 'node:assert/strict'
import { lstatSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import fc from 'fast-check'

import { temporaryFolder } from '../test/fixtures/files.ts'
import {
  readService,
  removeService,
  serviceFile,
  withoutService,
  withService,
  writeService,
} from './pg-service.ts'

const SETTINGS = { host: 'a,a', hostaddr: '192.0.2.1,192.0.2.2', port: '443,443' }

/** Lines a person may have in the file, none of them a header of ours. */
const LINE = fc.oneof(
  fc.constantFrom(
    '',
    '   ',
    '# a comment',
    '#[orders]',
    '\t# indented',
    'host=elsewhere',
    'not a setting',
  ),
  fc.constantFrom('[mine]', '  [also mine]  ', '[orders2]', '[xorders]', '[]', '[broken'),
)
const TEXT = fc
  .tuple(fc.array(LINE, { maxLength: 12 }), fc.constantFrom('\n', '\r\n'), fc.boolean())
  .map(([lines, newline, last]) => lines.join(newline) + (last ? newline : ''))

test('adding a section keeps every byte that was there, and removing it gives them back', () => {
  fc.assert(
    fc.property(TEXT, (before) => {
      const text = withService(before, 'orders', SETTINGS)
      ok(text.startsWith(before))
      deepEqual(readService(text, 'orders'), SETTINGS)
      ok(withoutService(text, 'orders').startsWith(before))
      equal(withoutService(text, 'orders').slice(before.length).trim(), '')
    }),
  )
})

test('replacing or removing a section changes no other one', () => {
  fc.assert(
    fc.property(TEXT, TEXT, (before, behind) => {
      const head = withService(before, 'orders', { host: 'old', user: 'gone' })
      const tail = `[behind]\n${behind}`
      const text = withService(head + tail, 'orders', SETTINGS)
      ok(text.startsWith(before))
      ok(text.endsWith(tail))
      const mine = text.slice(before.length, text.length - tail.length)
      equal(mine.trim(), '[orders]\nhost=a,a\nhostaddr=192.0.2.1,192.0.2.2\nport=443,443')
      const removed = withoutService(text, 'orders')
      ok(removed.startsWith(before))
      ok(removed.endsWith(tail))
      equal(removed.slice(before.length, removed.length - tail.length).trim(), '')
    }),
  )
})

test('comments and blank lines in a section of ours stay', () => {
  const text = '[orders]\n# why\nhost=old\n\n# of the next one\n[mine]\nhost=b\n'
  equal(
    withService(text, 'orders', { host: 'new' }),
    '[orders]\nhost=new\n# why\n\n# of the next one\n[mine]\nhost=b\n',
  )
  equal(withoutService(text, 'orders'), '# why\n\n# of the next one\n[mine]\nhost=b\n')
})

test('of two sections or settings of one name the first counts, as for libpq', () => {
  const text = '[orders]\nhost=first\nhost=again\n[orders]\nhost=second\n'
  deepEqual(readService(text, 'orders'), { host: 'first' })
  equal(withoutService(text, 'orders'), '[orders]\nhost=second\n')
})

test('white space around a header and a setting means nothing', () => {
  deepEqual(readService('  [orders] \n host=a\n', 'orders'), { host: 'a' })
  equal(readService('#[orders]\nhost=a\n', 'orders'), undefined)
  equal(readService('[orders2]\nhost=a\n', 'orders'), undefined)
})

test('the file is PGSERVICEFILE, else in the home folder', () => {
  equal(serviceFile({ PGSERVICEFILE: '/x' }), '/x')
  ok(serviceFile({}).endsWith('/.pg_service.conf'))
})

test('a file is made when there is none, and is its owner’s alone', async (t) => {
  const file = path.join(await temporaryFolder(t), 'pg_service.conf')
  writeService(file, 'orders', { host: 'a' })
  equal(readFileSync(file, 'utf8'), '[orders]\nhost=a\n')
  equal(statSync(file).mode & 0o777, 0o600)
  removeService(file, 'orders')
  equal(readFileSync(file, 'utf8'), '')
})

test('removing what is not there does not touch the file', async (t) => {
  const file = path.join(await temporaryFolder(t), 'pg_service.conf')
  removeService(file, 'orders')
  writeFileSync(file, '[mine]\n')
  const before = statSync(file).ino
  removeService(file, 'orders')
  equal(statSync(file).ino, before)
})

test('a link to a file kept elsewhere stays a link', async (t) => {
  const folder = await temporaryFolder(t)
  const real = path.join(folder, 'dotfiles')
  const link = path.join(folder, 'pg_service.conf')
  writeFileSync(real, '[mine]\nhost=b\n', { mode: 0o644 })
  symlinkSync(real, link)
  writeService(link, 'orders', { host: 'a' })
  ok(lstatSync(link).isSymbolicLink())
  equal(readFileSync(real, 'utf8'), '[mine]\nhost=b\n\n[orders]\nhost=a\n')
  equal(statSync(real).mode & 0o777, 0o644)
})
