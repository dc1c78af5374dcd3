// Which C library this process runs on: layouts of files that programs share are the library's.

import process from 'node:process'

import type { System } from './utmp.ts'

export function thisSystem(): System {
  const { platform, arch } = process
  const header = headerOf(process.report.getReport())
  const glibc = header['glibcVersionRuntime']
  return { platform, arch, glibc: typeof glibc === 'string' ? glibc : undefined }
}

function headerOf(report: object): Readonly<Record<string, unknown>> {
  const header: unknown = 'header' in report ? report.header : undefined
  return typeof header === 'object' && header !== null ? { ...header } : {}
}
