// The same suite where every answer waits for the disk. Part of `npm run test:full`.

import { auditSuite } from '../fixtures/audited.ts'

auditSuite({
  name: 'relay, node-sync',
  config: ['session_recording: node-sync'],
  role: 'agent',
  sync: true,
})
