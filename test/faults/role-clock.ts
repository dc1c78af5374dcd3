// Loaded before a role of ours by a test's supervisor (`node --import`), into every thread of it: its wall clock is the system's
// plus what the file beside this one says, in milliseconds. The monotonic clock is untouched, as when a machine's clock is set.
// OpenSSL reads the system's clock, so its own verdict on dates does not jump; ours do.

import { readFileSync } from 'node:fs'

const LOOK_MS = 20

const file = new URL(import.meta.url.replace(/\.ts$/, '.offset'))
const SystemDate = globalThis.Date
const systemNow = SystemDate.now
let offsetMs = readOffset()
setInterval(() => (offsetMs = readOffset()), LOOK_MS).unref()

SystemDate.now = () => systemNow() + offsetMs
globalThis.Date = new Proxy(SystemDate, {
  apply: () => new SystemDate(SystemDate.now()).toString(),
  construct(target, args, made): object {
    const given: readonly unknown[] = args.length === 0 ? [SystemDate.now()] : args
    const built: unknown = Reflect.construct(
      target,
      given,
      made === globalThis.Date ? target : made,
    )
    if (typeof built !== 'object' || built === null) throw new TypeError('a Date is an object')
    return built
  },
})

function readOffset(): number {
  return Number(readFileSync(file, 'utf8'))
}
