// The same suites where every answer waits for the disk. Part of `npm run test:full`.

import { auditSuite } from '../fixtures/audited.ts'

auditSuite({
  name: 'relay, node-sync',
  config: ['session_recording: node-sync'],
  role: 'agent',
  sync: true,
})

auditSuite({
  name: 'terminate, proxy-sync',
  config: ['session_recording: proxy-sync'],
  role: 'proxy',
  sync: true,
})
