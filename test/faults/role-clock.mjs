// Loaded before a role of ours by a test's supervisor (`node --import`), into every thread of it: its wall clock is the system's
// plus what the file beside this one says, in milliseconds. The monotonic clock is untouched, as when a machine's clock is set.
// OpenSSL reads the system's clock, so its own verdict on dates does not jump; ours do.
import { readFileSync } from 'node:fs'

const LOOK_MS = 20

const file = new URL(import.meta.url.replace(/\.mjs$/, '.offset'))
const SystemDate = globalThis.Date
const systemNow = SystemDate.now
let offsetMs = 0
look()
setInterval(look, LOOK_MS).unref()

SystemDate.now = () => systemNow() + offsetMs
globalThis.Date = new Proxy(SystemDate, {
  apply: () => new SystemDate(SystemDate.now()).toString(),
  construct: (target, args, made) =>
    Reflect.construct(
      target,
      args.length === 0 ? [SystemDate.now()] : args,
      made === globalThis.Date ? target : made,
    ),
})

function look() {
  offsetMs = Number(readFileSync(file, 'utf8'))
}
