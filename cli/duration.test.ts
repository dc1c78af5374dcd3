import { equal, throws } from 'node:assert/strict'
import { test } from 'node:test'

import { durationOption, timeOption } from './duration.ts'
import { EXIT } from './exit.ts'

test('durations are days, hours, minutes and seconds, one after the other', () => {
  equal(durationOption('ttl', '8h30m'), 30_600_000)
  equal(durationOption('ttl', '7d'), 604_800_000)
  equal(durationOption('ttl', '90s'), 90_000)
  equal(durationOption('ttl', undefined), undefined)
})

test('what is no duration is a wrong command line that names the option', () => {
  for (const text of ['', '8', 'h', '-1h', '1.5h', '1h 2m', '0m', '1y', '9999999h'])
    throws(() => durationOption('ttl', text), { status: EXIT.usage, message: /^--ttl/ })
})

test('times without a zone are UTC', () => {
  const noon = Date.UTC(2027, 0, 31, 12)
  equal(timeOption('to', '2027-01-31T12:00:00Z'), noon)
  equal(timeOption('to', '2027-01-31T12:00'), noon)
  equal(timeOption('to', '2027-01-31T14:00:00+02:00'), noon)
  equal(timeOption('to', '2027-01-31'), Date.UTC(2027, 0, 31))
  equal(timeOption('to', undefined), undefined)
})

test('what is no time is a wrong command line that names the option', () => {
  for (const text of ['', 'now', '2027', '2027-13-01', '2027-01-31 12:00', '31.1.2027'])
    throws(() => timeOption('to', text), { status: EXIT.usage, message: /^--to/ })
})
