// The process under test of the SSH bench: one worker thread, as an agent's or a proxy's, that ends SSH (ssh-thread.ts). Argument: a file
// (ssh-wanted.ts). Says its port.

import { Worker } from 'node:worker_threads'

import { max } from '../core/limits.ts'

const worker = new Worker(new URL('./ssh-thread.ts', import.meta.url), {
  argv: process.argv.slice(2),
  resourceLimits: { maxYoungGenerationSizeMb: max('workerYoungGenerationBytes') / 2 ** 20 },
})
worker.on('message', (port: number) => process.send?.([port]))
worker.on('error', (error) => {
  console.error(error)
  process.exit(1)
})
// A bench that dies leaves no part of it behind.
process.on('disconnect', () => process.exit())
